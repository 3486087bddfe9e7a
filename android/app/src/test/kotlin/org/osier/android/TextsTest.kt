package org.osier.android

import android.graphics.Color
import java.io.File
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Test
import org.junit.runner.RunWith
import org.osier.android.node.UiState
import org.osier.android.ui.counted
import org.osier.android.ui.duration
import org.osier.android.ui.fill
import org.osier.android.ui.milliseconds
import org.osier.android.ui.octets
import org.osier.android.ui.stateDetail
import org.osier.android.ui.stateLine
import org.osier.mobile.Face
import org.osier.mobile.StateKind
import org.osier.mobile.StateLine
import org.robolectric.RobolectricTestRunner
import org.robolectric.RuntimeEnvironment
import org.robolectric.annotation.Config

/** The texts that the desktop's catalogue has for phones, and how they are filled. */
@RunWith(RobolectricTestRunner::class)
class TextsTest {
    private val context get() = RuntimeEnvironment.getApplication()

    @Test
    fun `every state has its line and its words, with nothing left open`() {
        for (kind in StateKind.entries) for (verified in listOf(5uL, null)) for (days in listOf(0L, 1L, 9L)) {
            val line = StateLine(kind, Face.CONNECTED, true, "home", 1u, 4u, days, verified, "paris")
            val state = UiState(line = line, service = FakeSession.running)
            val texts = listOf(context.stateLine(state), context.stateDetail(state))
            assertTrue("$kind: $texts", texts.all { it.isNotEmpty() && '{' !in it })
        }
    }

    @Test
    fun `texts for this app alone are all used`() {
        val sources = File("src/main/kotlin").walk().filter { it.extension == "kt" }.joinToString("\n") { it.readText() }
        val names = (R.string::class.java.fields + R.plurals::class.java.fields).map { it.name }.filter { it.startsWith("phone_android_") }
        assertTrue(names.size > 20)
        assertEquals(emptyList<String>(), names.filterNot { Regex("\\b$it\\b").containsMatchIn(sources) })
    }

    @Test
    @Config(qualifiers = "notnight")
    fun `light texts can be read`() = contrasts()

    @Test
    @Config(qualifiers = "night")
    fun `dark texts can be read`() = contrasts()

    /** 4.5 is what WCAG 2 asks for of texts, 3 of all else. */
    private fun contrasts() {
        val cards = listOf(R.color.card, R.color.ground)
        val inks = listOf(R.color.text, R.color.faint, R.color.accent, R.color.good, R.color.busy, R.color.warn, R.color.bad)
        val texts = cards.flatMap { card -> inks.map { it to card } } + listOf(
            R.color.on_accent to R.color.accent,
            R.color.accent to R.color.accent_soft,
            R.color.text to R.color.warn_soft,
        )
        val marks = listOf(R.color.idle, R.color.field).map { it to R.color.card }
        for ((pairs, least) in listOf(texts to 4.5, marks to 3.0)) for ((ink, paper) in pairs) {
            val (light, dark) = listOf(ink, paper).map { Color.luminance(context.getColor(it)) }.sortedDescending()
            val contrast = (light + 0.05) / (dark + 0.05)
            val names = listOf(ink, paper).map(context.resources::getResourceEntryName)
            assertTrue("$names: $contrast", contrast >= least)
        }
    }

    @Test
    fun `numbers and times are written as on the desktop`() {
        val octets = listOf(0uL, 999uL, 1000uL, 1_234_567uL, 734_000_000uL, 999_600_000uL).map(context::octets)
        assertEquals(listOf("0 B", "999 B", "1.00 kB", "1.23 MB", "734 MB", "1.00 GB"), octets)
        assertEquals(listOf("1.23", "12.3", "123"), listOf(1.234, 12.34, 123.4).map(::milliseconds))
        val durations = listOf(1L, 59, 60, 7200, 259_300).map(context::duration)
        assertEquals(listOf("1 second", "59 seconds", "1 minute", "2 hours", "3 days"), durations)
        assertEquals("1 device of 9", context.counted(R.plurals.devices_shown, 1, "total" to 9))
        assertEquals("What to do: {a} {fix}", context.fill(R.string.home_fix, "fix" to "{a} {fix}"))
    }
}
