package org.osier.android.service

import android.content.pm.PackageManager
import android.net.VpnService
import android.system.OsConstants
import android.util.Log
import java.net.InetAddress
import org.osier.android.node.AppFilter
import org.osier.android.node.Preferences
import org.osier.mobile.TunSettings

/** Only the mesh's prefix goes into the device; all else, IPv4 and IPv6, goes past it. */
internal fun VpnService.Builder.configure(settings: TunSettings, preferences: Preferences, own: String): VpnService.Builder {
    // Literals: nothing is looked up.
    addAddress(InetAddress.getByName(settings.address), settings.addressLength.toInt())
    addRoute(InetAddress.getByName(settings.route), settings.routeLength.toInt())
    allowFamily(OsConstants.AF_INET)
    allowFamily(OsConstants.AF_INET6)
    setMtu(settings.mtu.toInt())
    // False: it counts as the network beneath does.
    setMetered(preferences.metered)
    when (preferences.apps) {
        AppFilter.ALL -> Unit
        // With none that is installed, nobody but this app itself: an empty list would mean everybody.
        AppFilter.ONLY -> known(preferences.packages + own, ::addAllowedApplication)
        AppFilter.EXCEPT -> known(preferences.packages - own, ::addDisallowedApplication)
    }
    return this
}

private fun known(packages: Set<String>, add: (String) -> Unit) = packages.sorted().forEach { name ->
    try {
        add(name)
    } catch (gone: PackageManager.NameNotFoundException) {
        Log.i("osier", "an app of the list is not installed any more", gone)
    }
}
