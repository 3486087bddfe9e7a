package org.osier.android.node

import org.osier.mobile.Check
import org.osier.mobile.Device
import org.osier.mobile.Health
import org.osier.mobile.Problem
import org.osier.mobile.ServiceView
import org.osier.mobile.StateLine
import org.osier.mobile.Status
import org.osier.mobile.Topology
import org.osier.mobile.Usage

/** All that the screens, the notification and the tile show, at one moment. */
data class UiState(
    /** Null until the session has said what it is. */
    val service: ServiceView? = null,
    /** Only while a node runs. */
    val status: Status? = null,
    /** The one state; null until `service` is known. */
    val line: StateLine? = null,
    val health: List<Health> = emptyList(),
    /** What only this platform knows of. */
    val issue: Issue? = null,
    /** The system's question for the VPN permission is to be put to the user, for a command that waits for the answer. */
    val askPermission: Boolean = false,
    val switching: Boolean = false,
    /** Why the last switching or leaving did not work. */
    val complaint: Problem? = null,
    val joining: Joining = Joining(),
    /** Null until asked for: see [Command.Watch]. */
    val devices: List<Device>? = null,
    val topology: Topology? = null,
    val usage: Usage? = null,
    val checks: Checks = Checks(),
    val ping: Pings? = null,
    val preferences: Preferences = Preferences(),
) {
    val joined: Boolean get() = service?.member != null
    val running: Boolean get() = status != null
}

enum class Issue {
    /** The user has not allowed this app to be a VPN. */
    NO_PERMISSION,

    /** Another VPN has taken over, so this one is off. */
    REPLACED,
}

/** A join under way, or what came of the last one. */
data class Joining(
    val running: Boolean = false,
    /** An invite that came with a link or a code, to be put into the field once. */
    val offered: String? = null,
    /** The name that was asked for, for the text of a refusal. */
    val name: String? = null,
    val refusal: Problem? = null,
)

data class Checks(val running: Boolean = false, val list: List<Check>? = null, val failed: Problem? = null)
