package org.osier.android

import android.app.Activity
import android.content.ClipboardManager
import android.content.ComponentName
import android.content.Intent
import android.net.Uri
import android.view.View
import android.widget.EditText
import android.widget.ListView
import android.widget.Switch
import android.widget.TextView
import java.io.ByteArrayOutputStream
import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Assert.assertNull
import org.junit.Assert.assertTrue
import org.junit.Test
import org.junit.runner.RunWith
import org.osier.android.ui.MainActivity
import org.osier.android.ui.Place
import org.osier.android.ui.csv
import org.osier.mobile.PingOutcome
import org.osier.mobile.PingReply
import org.robolectric.Robolectric
import org.robolectric.RobolectricTestRunner
import org.robolectric.Shadows.shadowOf
import org.robolectric.android.controller.ActivityController

/** The window, tapped as a person would. */
@RunWith(RobolectricTestRunner::class)
class ActivityTest {
    private val controller: ActivityController<MainActivity> by lazy { Robolectric.buildActivity(MainActivity::class.java) }
    private val screen: MainActivity get() = controller.get()

    private fun open(session: FakeSession): Phone = Phone(session).also {
        controller.setup()
        settle()
    }

    private fun views() = screen.window.decorView.all().filter { it.isShown }

    private fun switch() = views().filterIsInstance<Switch>().first()

    /** Through what is around its text, as fingers do. */
    private fun tapOn(text: String) {
        val label = screen.shown(text).first()
        generateSequence(label as View) { it.parent as? View }.first { it.isClickable }.performClick()
        settle()
    }

    @Test
    fun `the switch shows what is, not what was tapped`() {
        val phone = open(FakeSession(FakeSession.off))
        assertFalse(switch().isChecked)
        switch().performClick()
        assertFalse("not before it is so", switch().isChecked)
        phone.startAsked()
        until("it is on") { switch().isChecked }
        assertEquals(1, screen.shown("Connected, 4 neighbours").size)
        switch().performClick()
        until("it is off") { !switch().isChecked }
        until("the service goes") { phone.stopped }
    }

    @Test
    fun `name and address are copied by a tap`() {
        open(FakeSession(FakeSession.running))
        tapOn(FakeSession.tun.address)
        val clipboard = screen.getSystemService(ClipboardManager::class.java)
        assertEquals(FakeSession.tun.address, clipboard.primaryClip!!.getItemAt(0).text.toString())
    }

    @Test
    fun `nothing is asked while nobody looks`() {
        val phone = open(FakeSession(FakeSession.off))
        phone.session.asked = 0
        settle()
        settle()
        assertTrue("an open screen is kept fresh", phone.session.asked > 0)
        controller.pause().stop()
        settle()
        phone.session.asked = 0
        idle(seconds = 120)
        assertEquals(0, phone.session.asked)
    }

    @Test
    fun `a thousand devices are searched, and one is pinged`() {
        val session = FakeSession(FakeSession.running)
        session.devices = devices(1000)
        session.ping = PingReply("fd6f::1", null, PingOutcome.ECHO, 12.5)
        open(session)
        tapOn("Devices")
        until("they are listed") { screen.shown("1000 devices of 1000").isNotEmpty() }
        val list = views().filterIsInstance<ListView>().first()
        assertTrue("only those in sight have views", list.childCount in 1..40)

        views().filterIsInstance<EditText>().first().setText("berlin-0005")
        until("one is left") { screen.shown("1 device of 1000").isNotEmpty() }
        list.performItemClick(list.getChildAt(0), 0, 0)
        settle()
        tapOn("Start")
        until("it is pinged") { session.calls.count { it == "ping fd6f:7369:6572:5::1" } >= 3 }
        val told = views().filterIsInstance<TextView>().single { " answered. " in it.text }.text
        assertTrue("$told", Regex("(\\d+) of \\1 answered\\. Least 12\\.5 ms, .*").matches(told))
        tapOn("Stop")
        val before = session.calls.size
        settle()
        settle()
        assertEquals("no ping after that", before, session.calls.size)
        @Suppress("DEPRECATION")
        screen.onBackPressed()
        settle()
        assertEquals(1, screen.shown("1 device of 1000").size)
    }

    @Test
    fun `usage is written where the user says`() {
        val session = FakeSession(FakeSession.running)
        session.usage = month
        open(session)
        tapOn("Usage")
        tapOn("Export as CSV")
        val choose = shadowOf(screen).nextStartedActivityForResult
        assertEquals(Intent.ACTION_CREATE_DOCUMENT, choose.intent.action)
        assertEquals("osier-usage-2026-11-28.csv", choose.intent.getStringExtra(Intent.EXTRA_TITLE))
        assertEquals(csv(month), written(choose.intent))
        assertEquals(29, csv(month).trim().lines().size)
    }

    @Test
    fun `checks are run, and the support bundle is written`() {
        val phone = open(FakeSession(FakeSession.running))
        phone.session.checks = listOf(
            org.osier.mobile.Check("udp", org.osier.mobile.Verdict.ERROR, "nothing comes back", "try another network"),
        )
        views().first { it.contentDescription == "Diagnostics" }.performClick()
        until("it is told") { screen.shown("1 check needs attention.").isNotEmpty() }
        assertEquals(1, screen.shown("What to do: Try another network").size)
        tapOn("Save a support bundle")
        assertEquals("a bundle", written(shadowOf(screen).nextStartedActivityForResult.intent))
    }

    /** What is written to the place that the user chooses. */
    private fun written(choose: Intent): String {
        val place = Uri.parse("content://documents/1")
        val file = object : ByteArrayOutputStream() {
            @Volatile var closed = false

            override fun close() {
                closed = true
            }
        }
        shadowOf(screen.contentResolver).registerOutputStream(place, file)
        shadowOf(screen).receiveResult(choose, Activity.RESULT_OK, Intent().setData(place))
        until("it is written") { file.closed }
        return file.toString()
    }

    @Test
    fun `settings are sent, and leaving is asked twice`() {
        val phone = open(FakeSession(FakeSession.running))
        views().first { it.contentDescription == "Settings" }.performClick()
        tapOn("Tell apps that it costs money")
        tapOn("Start with the phone")
        val set = phone.node.state.value.preferences
        assertTrue(set.metered)
        assertFalse(set.startAtBoot)
        tapOn("Leave the network…")
        assertFalse("leave" in phone.session.calls)
        tapOn("Stay")
        tapOn("Leave the network…")
        tapOn("Leave")
        until("it has left") { "leave" in phone.session.calls }
        assertNull(phone.node.state.value.service?.member)
    }

    @Test
    fun `a new window goes on where the old one was`() {
        open(FakeSession(FakeSession.running))
        tapOn("Usage")
        val again = controller.recreate().get()
        settle()
        assertEquals(1, again.shown("What went through this device, by day.").size)
        assertEquals(Place.USAGE.name, android.os.Bundle().also { controller.saveInstanceState(it) }.getString("place"))
    }

    @Test
    fun `the tile's way in switches on, other apps' ways do not`() {
        val phone = Phone(FakeSession(FakeSession.off))
        val foreign = Intent("org.osier.android.ui.SwitchOn").setComponent(ComponentName(phone.app, MainActivity::class.java))
        Robolectric.buildActivity(MainActivity::class.java, foreign).setup()
        settle()
        assertFalse(phone.session.calls.any { it.startsWith("switch") })
        Robolectric.buildActivity(MainActivity::class.java, MainActivity.switchingOn(phone.app)).setup()
        phone.startAsked()
        until("it is on") { "switch true" in phone.session.calls }
        val alias = phone.app.packageManager.getActivityInfo(ComponentName(phone.app, MainActivity.SWITCH_ON), 0)
        assertFalse(alias.exported)
    }
}
