package org.osier.android.node

/** What screens, the tile, the notification and the service ask of the [Node]. */
sealed interface Command {
    /** The switch. */
    data class Switch(val on: Boolean) : Command

    /** Started by the system or at boot: go on as the switch was left. */
    data object Resume : Command

    data class Join(val invite: String, val name: String?) : Command

    /** An invite by link or code: to be shown, not yet used. */
    data class Offer(val invite: String) : Command

    /** It is in the field now. */
    data object OfferTaken : Command

    data object Leave : Command

    /** The user has answered the system's question. */
    data class Permission(val granted: Boolean) : Command

    /** Which figures somebody looks at; null when nobody does. Nothing is asked for otherwise. */
    data class Watch(val topic: Topic?) : Command

    data object Check : Command

    data class Ping(val target: String) : Command

    data object StopPing : Command

    data class Prefer(val preferences: Preferences) : Command

    /** The link's addresses; empty without a network. */
    data class NetworkChanged(val addresses: List<String>) : Command

    /** Whether the screen is on, and whether the system lets things rest. */
    data class Power(val interactive: Boolean, val idle: Boolean) : Command

    /** Another VPN has taken over, or the user has taken the permission away. */
    data object Revoked : Command

    /** The service is gone, by whoever's doing. */
    data class Gone(val tunnel: Tunnel) : Command
}

enum class Topic { STATE, DEVICES, TOPOLOGY, USAGE }
