package org.osier.android.service

import android.content.Context
import android.net.ConnectivityManager
import android.net.ConnectivityManager.NetworkCallback
import android.net.LinkProperties
import android.net.Network
import android.net.NetworkCapabilities
import android.net.NetworkRequest
import android.os.Handler
import android.os.Looper

/** Follows the best network beneath the VPN, and tells the system that the VPN goes over it. */
internal class Networks(
    context: Context,
    private val setUnderlying: (Array<Network>?) -> Boolean,
    private val changed: (List<String>) -> Unit,
) {
    private val manager = context.getSystemService(ConnectivityManager::class.java)

    private val callback = object : NetworkCallback() {
        private var now: Pair<Network, List<String>>? = null

        // Its addresses are told right after it has become available.
        override fun onLinkPropertiesChanged(network: Network, link: LinkProperties) {
            val next = network to link.linkAddresses.mapNotNull { it.address.hostAddress }
            // The system repeats itself, for properties that matter to others.
            if (next == now) return
            now = next
            setUnderlying(arrayOf(network))
            changed(next.second)
        }

        override fun onLost(network: Network) {
            if (now?.first != network) return
            now = null
            // Not null, which would mean: whatever is the default one.
            setUnderlying(emptyArray())
            changed(emptyList())
        }
    }

    fun start() {
        val request = NetworkRequest.Builder()
            .addCapability(NetworkCapabilities.NET_CAPABILITY_INTERNET)
            .addCapability(NetworkCapabilities.NET_CAPABILITY_NOT_VPN)
            .build()
        // Nothing is told of a network that is not there.
        if (manager.activeNetwork == null) changed(emptyList())
        manager.registerBestMatchingNetworkCallback(request, callback, Handler(Looper.getMainLooper()))
    }

    fun stop() = manager.unregisterNetworkCallback(callback)
}
