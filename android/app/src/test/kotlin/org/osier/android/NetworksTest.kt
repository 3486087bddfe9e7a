package org.osier.android

import android.net.ConnectivityManager
import android.net.LinkAddress
import android.net.LinkProperties
import android.net.Network
import java.net.InetAddress
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Test
import org.junit.runner.RunWith
import org.robolectric.RobolectricTestRunner
import org.robolectric.Shadows.shadowOf
import org.robolectric.shadows.ShadowNetwork

/** What the service makes of networks that come and go. */
@RunWith(RobolectricTestRunner::class)
class NetworksTest {
    private fun link(vararg addresses: String) = LinkProperties().apply {
        addresses.forEach { addLinkAddress(LinkAddress(InetAddress.getByName(it), 24)) }
    }

    @Test
    fun `the session hears of each network, and the system of what is beneath the VPN`() {
        val phone = Phone(FakeSession(FakeSession.running))
        phone.alwaysOn()
        until("the device is set up") { phone.session.devicesGiven.isNotEmpty() }
        val manager = phone.app.getSystemService(ConnectivityManager::class.java)
        val callback = shadowOf(manager).networkCallbacks.single()
        val wifi = ShadowNetwork.newInstance(1)
        val mobile = ShadowNetwork.newInstance(2)
        fun told() = phone.session.calls.filter { it.startsWith("network") }.also { settle() }

        callback.onAvailable(wifi)
        callback.onLinkPropertiesChanged(wifi, link("192.0.2.7", "2001:db8::7"))
        callback.onLinkPropertiesChanged(wifi, link("192.0.2.7", "2001:db8::7"))
        until("it is told") { "network [192.0.2.7, 2001:db8:0:0:0:0:0:7]" in phone.session.calls }
        assertEquals(listOf(wifi), ShadowTunnel.underlying)

        callback.onLinkPropertiesChanged(mobile, link("198.51.100.9"))
        until("it is told") { told().last() == "network [198.51.100.9]" }
        assertEquals(listOf(mobile), ShadowTunnel.underlying)

        callback.onLost(wifi)
        settle()
        assertEquals("that one is not in use any more", "network [198.51.100.9]", told().last())

        callback.onLost(mobile)
        until("it is told") { told().last() == "network []" }
        assertEquals(emptyList<Network>(), ShadowTunnel.underlying)
        assertEquals("the same is told once", 1, told().count { it == "network [192.0.2.7, 2001:db8:0:0:0:0:0:7]" })

        phone.service!!.destroy()
        assertTrue(shadowOf(manager).networkCallbacks.isEmpty())
    }

    @Test
    fun `a start without a network is told as one`() {
        val phone = Phone(FakeSession(FakeSession.running))
        shadowOf(phone.app.getSystemService(ConnectivityManager::class.java)).setActiveNetworkInfo(null)
        phone.alwaysOn()
        until("it is told") { "network []" in phone.session.calls }
    }
}
