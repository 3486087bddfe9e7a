package org.osier.android

import android.app.Application
import android.app.Notification
import android.app.NotificationManager
import android.app.Service
import android.content.Intent
import android.content.pm.ServiceInfo
import android.net.VpnService
import android.os.PowerManager
import com.android.internal.net.VpnConfig
import java.net.InetAddress
import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Assert.assertNull
import org.junit.Assert.assertTrue
import org.junit.Test
import org.junit.runner.RunWith
import org.osier.android.node.AppFilter
import org.osier.android.node.Command
import org.osier.android.node.Issue
import org.osier.android.node.Preferences
import org.osier.android.node.PreferenceStore
import org.osier.android.service.BootReceiver
import org.osier.android.service.OsierVpnService
import org.osier.mobile.Event
import org.osier.mobile.ServiceState
import org.osier.mobile.SessionException
import org.robolectric.RobolectricTestRunner
import org.robolectric.RuntimeEnvironment
import org.robolectric.Shadows.shadowOf
import org.robolectric.shadows.ShadowVpnService

/** The VPN service through what the system does to it. */
@RunWith(RobolectricTestRunner::class)
class ServiceTest {
    private fun notification(): Notification? {
        val manager = RuntimeEnvironment.getApplication().getSystemService(NotificationManager::class.java)
        return shadowOf(manager).getNotification(1)
    }

    private fun line() = notification()?.extras?.getCharSequence(Notification.EXTRA_TEXT)?.toString()

    @Test
    fun `always-on starts it without a screen, and the device is set up for the mesh alone`() {
        val phone = Phone(FakeSession(FakeSession.off))
        val service = phone.alwaysOn()
        until("the device is set up") { phone.session.devicesGiven.isNotEmpty() }

        assertTrue("switch true" in phone.session.calls)
        assertFalse(phone.stopped)
        val device = ShadowBuilder.established.single()
        val address = device.addresses.single()
        assertEquals(InetAddress.getByName("fd6f:7369:6572:1::1") to 128, address.address to address.prefixLength)
        val route = device.routes.single().destination
        assertEquals(InetAddress.getByName("fd6f:7369:6572::") to 48, route.address to route.prefixLength)
        assertEquals(1420, device.mtu)
        assertTrue("all else passes the VPN by", device.allowIPv4 && device.allowIPv6)
        assertFalse("it counts as the network beneath does", device.isMetered)
        assertNull(device.allowedApplications)
        assertNull(device.disallowedApplications)
        assertTrue(phone.inForeground)
        assertEquals(ServiceInfo.FOREGROUND_SERVICE_TYPE_SYSTEM_EXEMPTED, service.foregroundServiceType)
        until("the notification says so") { line() == "Connected, 4 neighbours" }
        assertEquals(listOf("Turn off"), notification()!!.actions.map { it.title.toString() })
    }

    @Test
    fun `sockets are protected by the service, and refused without it`() {
        val phone = Phone(FakeSession(FakeSession.running))
        phone.alwaysOn()
        until("it is attached") { phone.session.devicesGiven.isNotEmpty() }
        assertTrue(phone.session.protect(77))
        assertEquals(listOf(77), ShadowTunnel.protected.toList())

        phone.service!!.destroy()
        settle()
        assertFalse(phone.session.protect(78))
        assertTrue("clearTun" in phone.session.calls)
    }

    @Test
    fun `after the system has ended the process, it goes on as the switch was left`() {
        val phone = Phone(FakeSession(FakeSession.running))
        phone.start(null)
        until("the device is set up") { phone.session.devicesGiven.isNotEmpty() }
        assertFalse("nobody has touched the switch", phone.session.calls.any { it.startsWith("switch") })
        assertFalse(phone.stopped)
        assertEquals(Service.START_STICKY, phone.deliver(null, 2))
    }

    @Test
    fun `started without a reason, it stops again`() {
        val phone = Phone(FakeSession(FakeSession.off))
        phone.start(null)
        until("it stops") { phone.stopped }
        assertTrue(phone.session.devicesGiven.isEmpty())
    }

    @Test
    fun `another VPN takes over`() {
        val phone = Phone(FakeSession(FakeSession.running))
        val service = phone.alwaysOn()
        until("the device is set up") { phone.session.devicesGiven.isNotEmpty() }
        ShadowVpnService.setPrepareResult(Intent("the system's question"))
        phone.session.tell(Event.DeviceLost("revoked"))
        service.onRevoke()
        until("it stops") { phone.stopped }
        settle()
        assertTrue("the neighbours are told, and it stays off", "switch false" in phone.session.calls)
        assertEquals("it does not take the VPN back by itself", 1, ShadowBuilder.established.size)
        assertEquals(Issue.REPLACED, phone.node.state.value.issue)
        assertFalse(phone.askedToStart)
    }

    @Test
    fun `another VPN takes over while it is switched on`() {
        val phone = Phone(FakeSession(FakeSession.off))
        val gate = kotlinx.coroutines.CompletableDeferred<Unit>()
        phone.session.beforeSwitch = { gate.await() }
        val service = phone.alwaysOn()
        until("it is being switched") { phone.node.state.value.switching }
        service.onRevoke()
        settle()
        gate.complete(Unit)
        until("it is off in the end") { phone.session.calls.last { it.startsWith("switch") } == "switch false" }
        until("it stops") { phone.stopped }
    }

    @Test
    fun `always-on before a join stops again, and says why`() {
        val session = FakeSession()
        session.beforeSwitch = { throw SessionException.NotJoined(FakeSession.problem("not-joined")) }
        val phone = Phone(session)
        phone.alwaysOn()
        until("it stops") { phone.stopped }
        assertEquals("not-joined", phone.node.state.value.complaint?.code)
    }

    @Test
    fun `a lost device is set up anew as long as it may be`() {
        val phone = Phone(FakeSession(FakeSession.running))
        phone.alwaysOn()
        until("the device is set up") { phone.session.devicesGiven.size == 1 }
        idle(seconds = 6)
        phone.session.tell(Event.DeviceLost("read failed"))
        settle()
        assertEquals("at once", 2, phone.session.devicesGiven.size)
        phone.session.tell(Event.DeviceLost("read failed"))
        settle()
        assertEquals("not again and again", 2, phone.session.devicesGiven.size)
        until("another is set up") { phone.session.devicesGiven.size == 3 }
        assertNull(phone.node.state.value.issue)
    }

    @Test
    fun `the device is set up once, whatever is told how often`() {
        val phone = Phone(FakeSession(FakeSession.running))
        phone.alwaysOn()
        until("the device is set up") { phone.session.devicesGiven.isNotEmpty() }
        repeat(5) { phone.session.becomes(FakeSession.running) }
        settle()
        assertEquals(1, phone.session.devicesGiven.size)
    }

    @Test
    fun `the notification's button switches off, and the service goes`() {
        val phone = Phone(FakeSession(FakeSession.running))
        phone.alwaysOn()
        until("the device is set up") { phone.session.devicesGiven.isNotEmpty() }
        val button = notification()!!.actions.single()
        val intent = shadowOf(button.actionIntent).savedIntent
        assertEquals(OsierVpnService.SWITCH_OFF, intent.action)
        phone.deliver(intent)
        until("it stops") { phone.stopped }
        assertTrue("switch false" in phone.session.calls)
        assertTrue("clearTun" in phone.session.calls)
    }

    @Test
    fun `switched off and on again, the service stays or comes back`() {
        val phone = Phone(FakeSession(FakeSession.running))
        phone.alwaysOn()
        until("the device is set up") { phone.session.devicesGiven.size == 1 }
        phone.node.send(Command.Switch(false))
        until("it stops") { phone.stopped }
        // Before the system has ended the service that wants to go.
        phone.node.send(Command.Switch(true))
        until("it is asked for again") { phone.askedToStart }
        phone.deliver(shadowOf(phone.app).nextStartedService, 2)
        until("the device is set up again") { phone.session.devicesGiven.size == 2 }
        assertTrue(phone.session.protect(5))
    }

    @Test
    fun `settings make another device take the place of the first`() {
        val phone = Phone(FakeSession(FakeSession.running))
        phone.alwaysOn()
        until("the device is set up") { phone.session.devicesGiven.size == 1 }

        fun prefer(preferences: Preferences): VpnConfig {
            val before = ShadowBuilder.established.size
            phone.node.send(Command.Prefer(preferences))
            until("another device") { ShadowBuilder.established.size == before + 1 }
            return ShadowBuilder.established.last()
        }
        val only = prefer(Preferences(AppFilter.ONLY, setOf("org.example.chat"), metered = true))
        assertEquals("this app itself has to reach it", listOf("org.example.chat", "org.osier.android"), only.allowedApplications)
        assertTrue(only.isMetered)
        val except = prefer(Preferences(AppFilter.EXCEPT, setOf("org.example.bank", "org.osier.android")))
        assertEquals(listOf("org.example.bank"), except.disallowedApplications)
        assertNull(except.allowedApplications)
        assertFalse("nothing is cut in between", "clearTun" in phone.session.calls)

        phone.node.send(Command.Prefer(Preferences(AppFilter.EXCEPT, setOf("org.example.bank", "org.osier.android"), startAtBoot = false)))
        settle()
        assertEquals("nothing that the device is set up with", 3, ShadowBuilder.established.size)
        assertEquals(phone.node.state.value.preferences, PreferenceStore(phone.app).load())
    }

    @Test
    fun `carrying others' traffic opens the session anew, and the device with it`() {
        val phone = Phone(FakeSession(FakeSession.running))
        phone.alwaysOn()
        until("the device is set up") { phone.session.devicesGiven.size == 1 }
        assertEquals(true, phone.session.leaf)
        phone.node.send(Command.Prefer(Preferences(carry = true)))
        until("another device") { phone.session.devicesGiven.size == 2 }
        assertEquals(false, phone.session.leaf)
        assertEquals(listOf("open", "stop", "open"), phone.session.calls.filter { it == "open" || it == "stop" })
    }

    @Test
    fun `screen and doze put the session to sleep and wake it`() {
        val phone = Phone(FakeSession(FakeSession.running))
        phone.alwaysOn()
        until("the device is set up") { phone.session.devicesGiven.isNotEmpty() }
        val power = shadowOf(phone.app.getSystemService(PowerManager::class.java))
        fun broadcast(action: String) {
            phone.app.sendBroadcast(Intent(action))
            settle()
        }
        power.turnScreenOn(false)
        broadcast(Intent.ACTION_SCREEN_OFF)
        assertEquals("sleep", phone.session.calls.last())
        power.setIsDeviceIdleMode(true)
        broadcast(PowerManager.ACTION_DEVICE_IDLE_MODE_CHANGED)
        power.setIsDeviceIdleMode(false)
        broadcast(PowerManager.ACTION_DEVICE_IDLE_MODE_CHANGED)
        power.turnScreenOn(true)
        broadcast(Intent.ACTION_SCREEN_ON)
        assertEquals(listOf("sleep", "wake"), phone.session.calls.filter { it == "sleep" || it == "wake" })
    }

    @Test
    fun `the notification is kept fresh while the screen is on, and nothing is asked while it is off`() {
        val phone = Phone(FakeSession(FakeSession.running))
        phone.alwaysOn()
        until("the device is set up") { phone.session.devicesGiven.isNotEmpty() }
        fun askedIn(seconds: Long): Int {
            settle()
            phone.session.asked = 0
            idle(seconds)
            return phone.session.asked
        }
        assertTrue(askedIn(120) in 3..5)
        shadowOf(phone.app.getSystemService(PowerManager::class.java)).turnScreenOn(false)
        phone.app.sendBroadcast(Intent(Intent.ACTION_SCREEN_OFF))
        assertEquals(0, askedIn(3600))
        phone.service!!.destroy()
        assertEquals(0, askedIn(120))
    }

    @Test
    fun `boot goes on as the switch was left`() {
        val phone = Phone(FakeSession(FakeSession.running))
        boot(phone.app)
        val service = phone.startAsked()
        until("the device is set up") { phone.session.devicesGiven.isNotEmpty() }
        assertTrue(shadowOf(service).lastForegroundNotification != null)
    }

    @Test
    fun `boot starts nothing that was switched off`() {
        val phone = Phone(FakeSession(FakeSession.off))
        boot(phone.app)
        settle()
        assertFalse(phone.askedToStart)
    }

    @Test
    fun `boot starts nothing against the setting`() {
        val phone = Phone(FakeSession(FakeSession.running))
        PreferenceStore(phone.app).save(Preferences(startAtBoot = false))
        boot(phone.app)
        settle()
        assertFalse(phone.askedToStart)
    }

    @Test
    fun `boot without the permission says so`() {
        val phone = Phone(FakeSession(FakeSession.running), mayTunnel = false)
        boot(phone.app)
        settle()
        assertFalse(phone.askedToStart)
        val manager = shadowOf(phone.app.getSystemService(NotificationManager::class.java))
        val notice = manager.getNotification(2)
        assertEquals("Android has not been told that Osier may set up a VPN.", notice.extras.getString(Notification.EXTRA_TEXT))
    }

    private fun boot(app: Application) = BootReceiver().onReceive(app, Intent(Intent.ACTION_BOOT_COMPLETED))

    @Test
    fun `switching on waits for the permission`() {
        val phone = Phone(FakeSession(FakeSession.off), mayTunnel = false)
        phone.node.send(Command.Switch(true))
        until("the question is put") { phone.node.state.value.askPermission }
        assertFalse(phone.askedToStart)

        phone.node.send(Command.Permission(false))
        until("it is told") { phone.node.state.value.issue == Issue.NO_PERMISSION }
        assertFalse("switch true" in phone.session.calls)

        phone.node.send(Command.Switch(true))
        until("the question is put again") { phone.node.state.value.askPermission }
        ShadowVpnService.setPrepareResult(null)
        phone.node.send(Command.Permission(true))
        phone.startAsked()
        until("the device is set up") { phone.session.devicesGiven.isNotEmpty() }
        assertNull(phone.node.state.value.issue)
    }

    @Test
    fun `state that cannot be opened is told`() {
        val phone = Phone(FakeSession(FakeSession.running))
        phone.session.service = FakeSession.running.copy(state = ServiceState.FAILED, problem = FakeSession.problem("disk"))
        phone.start(null)
        until("it is shown") { line() == "The node could not start" }
        assertTrue(phone.session.devicesGiven.isEmpty())
    }

    @Test
    fun `a refused device is told, and not tried for ever`() {
        val phone = Phone(RefusingSession())
        phone.alwaysOn()
        until("it is told") { phone.node.state.value.complaint?.code == "no-tun" }
    }

    private class RefusingSession : FakeSession(running) {
        override fun setTun(fd: Int, mtu: UShort) = throw SessionException.Device(problem("no-tun"))
    }

    @Test
    fun `leaving takes the service along`() {
        val phone = Phone(FakeSession(FakeSession.running))
        phone.alwaysOn()
        until("the device is set up") { phone.session.devicesGiven.isNotEmpty() }
        phone.node.send(Command.Leave)
        until("it stops") { phone.stopped }
        assertTrue("clearTun" in phone.session.calls)
        assertFalse(phone.node.state.value.joined)
    }

    @Test
    fun `the interface of the system is the system's`() {
        val phone = Phone(FakeSession(FakeSession.running))
        val service = phone.alwaysOn()
        assertTrue("the system binds to it for onRevoke", service.onBind(Intent(VpnService.SERVICE_INTERFACE)) != null)
    }
}
