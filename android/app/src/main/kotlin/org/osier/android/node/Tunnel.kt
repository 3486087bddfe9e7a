package org.osier.android.node

import org.osier.mobile.TunSettings

/** What the VPN service does for the [Node]; it is there from the service's start to its end. */
interface Tunnel {
    /** Called from any thread. */
    fun protectSocket(fd: Int): Boolean

    /** Sets the device up, in the place of the one before; null without the permission. Its descriptor is the caller's. */
    fun establish(settings: TunSettings, preferences: Preferences): Int?

    /** Nothing is left to do for the service. */
    fun release()
}

/** What the [Node] needs of the system besides. */
interface Host {
    /** Whether the user has allowed this app to be a VPN. */
    fun mayTunnel(): Boolean

    /** Starts the VPN service, which then attaches itself. */
    fun startService()

    /** Milliseconds of a clock that goes on in sleep and does not jump. */
    fun now(): Long
}
