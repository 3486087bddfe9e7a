package org.osier.android

import android.service.quicksettings.Tile
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Test
import org.junit.runner.RunWith
import org.osier.android.service.SwitchTile
import org.osier.android.ui.MainActivity
import org.robolectric.Robolectric
import org.robolectric.RobolectricTestRunner
import org.robolectric.Shadows.shadowOf

/** The switch among the quick settings. */
@RunWith(RobolectricTestRunner::class)
class TileTest {
    private fun tile() = Robolectric.buildService(SwitchTile::class.java).create().get().also { it.onStartListening() }

    @Test
    fun `it shows the state line, and switches`() {
        val phone = Phone(FakeSession(FakeSession.off))
        val tile = tile()
        until("it is shown") { tile.qsTile.subtitle == "Off" }
        assertEquals(Tile.STATE_INACTIVE, tile.qsTile.state)

        tile.onClick()
        phone.startAsked()
        until("it is connected") { tile.qsTile.subtitle == "Connected, 4 neighbours" }
        assertEquals(Tile.STATE_ACTIVE, tile.qsTile.state)

        tile.onClick()
        until("it is off") { tile.qsTile.subtitle == "Off" }
        assertEquals(listOf("switch true", "switch false"), phone.session.calls.filter { it.startsWith("switch") })
    }

    @Test
    fun `without the permission it opens the screen that asks`() {
        val phone = Phone(FakeSession(FakeSession.off), mayTunnel = false)
        val tile = tile()
        until("it is shown") { tile.qsTile.subtitle == "Off" }
        tile.onClick()
        assertTrue("nothing is switched unseen", phone.session.calls.none { it.startsWith("switch") })
        assertEquals(MainActivity.SWITCH_ON, shadowOf(phone.app).nextStartedActivity?.component?.className)
    }

    @Test
    fun `before a join it opens the app`() {
        val phone = Phone(FakeSession())
        val tile = tile()
        until("it is shown") { tile.qsTile.subtitle == "Not in a network yet" }
        tile.onClick()
        assertEquals(MainActivity::class.java.name, shadowOf(phone.app).nextStartedActivity?.component?.className)
    }

    @Test
    fun `nobody looks, nothing is asked`() {
        val phone = Phone(FakeSession(FakeSession.off))
        val tile = tile()
        until("it is shown") { tile.qsTile.subtitle == "Off" }
        tile.onStopListening()
        phone.session.becomes(FakeSession.running)
        settle()
        assertEquals("Off", tile.qsTile.subtitle)
    }
}
