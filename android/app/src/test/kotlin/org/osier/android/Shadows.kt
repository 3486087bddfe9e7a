package org.osier.android

import android.app.PendingIntent
import android.net.Network
import android.net.VpnService
import android.os.ParcelFileDescriptor
import android.service.quicksettings.TileService
import com.android.internal.net.VpnConfig
import java.io.File
import org.robolectric.annotation.Implementation
import org.robolectric.annotation.Implements
import org.robolectric.annotation.RealObject
import org.robolectric.shadows.ShadowTileService
import org.robolectric.shadows.ShadowVpnService
import org.robolectric.util.ReflectionHelpers

/** The system's answers to a VPN service, which Robolectric has none of. */
@Implements(VpnService::class)
class ShadowTunnel : ShadowVpnService() {
    @Implementation
    fun protect(socket: Int): Boolean {
        protected += socket
        return true
    }

    @Implementation
    fun setUnderlyingNetworks(networks: Array<Network>?): Boolean {
        underlying = networks?.toList()
        return true
    }

    companion object {
        val protected = mutableListOf<Int>()
        var underlying: List<Network>? = null

        fun forget() {
            protected.clear()
            underlying = null
        }
    }
}

/** Robolectric knows the older way alone. */
@Implements(TileService::class)
class ShadowSwitch : ShadowTileService() {
    @Implementation
    fun startActivityAndCollapse(activity: PendingIntent) = activity.send()
}

/** What a device was asked for with; the device is but a number. */
@Implements(VpnService.Builder::class)
class ShadowBuilder {
    @RealObject private lateinit var builder: VpnService.Builder

    @Implementation
    fun establish(): ParcelFileDescriptor? {
        if (VpnService.prepare(org.robolectric.RuntimeEnvironment.getApplication()) != null) return null
        established += ReflectionHelpers.getField<VpnConfig>(builder, "mConfig").apply {
            addresses = ReflectionHelpers.getField(builder, "mAddresses")
            routes = ReflectionHelpers.getField(builder, "mRoutes")
        }
        return Handed(FIRST_FD + established.size)
    }

    /** All are installed. */
    @Implementation
    fun verifyApp(name: String) = check(name.isNotEmpty())

    /** As Robolectric cannot detach a real one. */
    private class Handed(private val number: Int) : ParcelFileDescriptor(open(File("/dev/null"), MODE_READ_ONLY)) {
        override fun detachFd(): Int {
            close()
            return number
        }
    }

    companion object {
        private const val FIRST_FD = 1000
        val established = mutableListOf<VpnConfig>()
    }
}
