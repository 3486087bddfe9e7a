package org.osier.android

import android.net.Network
import android.net.VpnService
import android.os.ParcelFileDescriptor
import com.android.internal.net.VpnConfig
import org.robolectric.annotation.Implementation
import org.robolectric.annotation.Implements
import org.robolectric.annotation.RealObject
import org.robolectric.annotation.Resetter
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

        @JvmStatic
        @Resetter
        fun resetTunnel() {
            protected.clear()
            underlying = null
        }
    }
}

/** What a device was asked for with; the device is a pipe's end. */
@Implements(VpnService.Builder::class)
class ShadowBuilder {
    @RealObject private lateinit var builder: VpnService.Builder

    @Implementation
    fun establish(): ParcelFileDescriptor? {
        if (VpnService.prepare(org.robolectric.RuntimeEnvironment.getApplication()) != null) return null
        established += ReflectionHelpers.getField<VpnConfig>(builder, "mConfig")
        return ParcelFileDescriptor.createPipe()[0]
    }

    /** All are installed. */
    @Implementation
    fun verifyApp(name: String) = check(name.isNotEmpty())

    companion object {
        val established = mutableListOf<VpnConfig>()

        @JvmStatic
        @Resetter
        fun reset() = established.clear()
    }
}
