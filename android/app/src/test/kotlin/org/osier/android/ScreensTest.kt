package org.osier.android

import android.content.ComponentName
import android.content.Context
import android.content.Intent
import android.content.IntentFilter
import android.content.pm.ApplicationInfo
import android.content.pm.PackageInfo
import android.content.res.Configuration
import android.graphics.Bitmap
import android.graphics.Canvas
import android.view.ContextThemeWrapper
import android.view.View.MeasureSpec.EXACTLY
import android.view.View.MeasureSpec.makeMeasureSpec
import java.io.File
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Test
import org.junit.runner.RunWith
import org.osier.android.node.Command
import org.osier.android.ui.Acts
import org.osier.android.ui.Frame
import org.osier.android.ui.Place
import org.osier.android.ui.Ui
import org.osier.android.ui.screens.DevicesScreen
import org.robolectric.ParameterizedRobolectricTestRunner
import org.robolectric.ParameterizedRobolectricTestRunner.Parameters
import org.robolectric.RuntimeEnvironment
import org.robolectric.Shadows.shadowOf

/** Draws every screen in every state, in both themes, for people to look at; and looks for what can be measured. */
@RunWith(ParameterizedRobolectricTestRunner::class)
class ScreensTest(private val look: Look) {
    private object Nowhere : Acts {
        override fun send(command: Command) = Unit

        override fun go(place: Place) = Unit

        override fun copy(label: String, text: String) = Unit

        override fun clipboard(): String? = null

        override fun scan() = Unit

        override fun save(name: String, type: String, content: suspend () -> String) = Unit

        override fun systemVpnSettings() = Unit
    }

    @Test
    fun `every screen can be read`() {
        TestApp.session = FakeSession()
        RuntimeEnvironment.setQualifiers(look.qualifiers)
        RuntimeEnvironment.setFontScale(look.fontScale)
        installApps()
        val context = ContextThemeWrapper(RuntimeEnvironment.getApplication(), R.style.Theme_Osier)
        val night = context.resources.configuration.uiMode and Configuration.UI_MODE_NIGHT_MASK
        assertEquals(look.dark, night == Configuration.UI_MODE_NIGHT_YES)
        val wrong = scenes.filter { it.everywhere || look in BOTH_THEMES }.flatMap { draw(it, context) }
        assertTrue(wrong.joinToString("\n"), wrong.isEmpty())
    }

    /** For the list of those that may use the network. */
    private fun installApps() {
        val packages = shadowOf(RuntimeEnvironment.getApplication().packageManager)
        for (name in listOf("org.example.chat", "org.example.maps", "org.example.mail")) {
            packages.installPackage(PackageInfo().apply {
                packageName = name
                applicationInfo = ApplicationInfo().also { it.packageName = name }
            })
            val main = ComponentName(name, "$name.Main")
            packages.addActivityIfNotPresent(main)
            packages.addIntentFilterForActivity(main, IntentFilter(Intent.ACTION_MAIN).apply { addCategory(Intent.CATEGORY_LAUNCHER) })
        }
    }

    /** What is wrong with it. */
    private fun draw(scene: Scene, context: Context): List<String> {
        val frame = Frame(Ui(context), Nowhere)
        frame.open(scene.place)
        frame.render(scene.state)
        scene.open?.let { (frame.screen as DevicesScreen).open(it) }
        frame.render(scene.state)
        val view = frame.view
        // As a window's is.
        view.layoutDirection = context.resources.configuration.layoutDirection
        val width = (look.width * look.density).toInt()
        val height = (look.height * look.density).toInt()
        // Twice, as lists fill themselves after the first.
        repeat(2) {
            view.measure(makeMeasureSpec(width, EXACTLY), makeMeasureSpec(height, EXACTLY))
            view.layout(0, 0, width, height)
        }
        view.jumpDrawablesToCurrentState()
        val bitmap = Bitmap.createBitmap(width, height, Bitmap.Config.ARGB_8888)
        view.draw(Canvas(bitmap))
        val file = File(checkNotNull(System.getProperty("screens")), "${scene.name}-$look.png")
        checkNotNull(file.parentFile).mkdirs()
        file.outputStream().use { assertTrue(bitmap.compress(Bitmap.CompressFormat.PNG, 100, it)) }
        val points = IntArray(width * height).also { bitmap.getPixels(it, 0, width, 0, 0, width, height) }
        val colours = (points.indices step 61).mapTo(mutableSetOf()) { points[it] }.size
        val empty = listOf("nothing is drawn").filter { colours < 10 }
        return (empty + findings(view, width, look.density)).map { "${scene.name} $look: $it" }
    }

    companion object {
        /** Both have every screen; the others only those where it may matter. */
        private val BOTH_THEMES = setOf(Look.LIGHT, Look.DARK)

        @JvmStatic
        @Parameters(name = "{0}")
        fun looks(): List<Array<Any>> = Look.entries.map { arrayOf(it) }
    }
}
