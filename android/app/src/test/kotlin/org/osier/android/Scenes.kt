package org.osier.android

import org.osier.android.node.AppFilter
import org.osier.android.node.Checks
import org.osier.android.node.Issue
import org.osier.android.node.Joining
import org.osier.android.node.Pings
import org.osier.android.node.Preferences
import org.osier.android.node.UiState
import org.osier.android.ui.Place
import org.osier.mobile.Check
import org.osier.mobile.ConnectionState
import org.osier.mobile.Device
import org.osier.mobile.DevicePath
import org.osier.mobile.PingOutcome
import org.osier.mobile.PingReply
import org.osier.mobile.Problem
import org.osier.mobile.ServiceState
import org.osier.mobile.ServiceView
import org.osier.mobile.Severity
import org.osier.mobile.Status
import org.osier.mobile.Verdict
import org.osier.mobile.stateLine

/** A screen in a state. */
class Scene(val name: String, val place: Place, val state: UiState, val open: Device? = null, val everywhere: Boolean = false) {
    override fun toString(): String = name
}

private fun ui(service: ServiceView?, status: Status? = null) = UiState(
    service = service,
    status = status,
    line = service?.let { stateLine(it, status, 0u) },
    health = status?.health.orEmpty(),
    usage = month.takeIf { service?.member != null },
)

private val well = ui(FakeSession.running, connected)
private val looking = connected.with(ConnectionState.LOOKING)
private val expiring = health(
    "certificate-expiring",
    Severity.WARNING,
    "the certificate expires in 2 days, and the registry does not answer",
    "ask the operator whether the registry runs",
)
private val udpBlocked = health(
    "udp-blocked",
    Severity.ERROR,
    "no answer to 12 datagrams in a row: UDP seems to be blocked on this network",
    "try another network, or ask its operator to permit UDP",
)

private val alone = health(
    "registry-unreachable",
    Severity.INFO,
    "the registry does not answer",
    "nothing: the mesh works without it",
)
private val blocked = connected.with(ConnectionState.LIMITED).copy(health = listOf(udpBlocked))
private val expiringSoon = connected.copy(certificateSecondsLeft = 180_000, health = listOf(expiring))
private val full = Problem("disk", "the state directory cannot be written", "make room on the device")

private fun service(state: ServiceState, on: Boolean = true, problem: Problem? = null) =
    ServiceView(state, on, FakeSession.member, problem)

private val home = listOf(
    Scene("home-loading", Place.HOME, UiState()),
    Scene("home-not-joined", Place.HOME, ui(FakeSession.notJoined), everywhere = true),
    Scene("home-off", Place.HOME, ui(FakeSession.off)),
    Scene("home-starting", Place.HOME, ui(service(ServiceState.STARTING))),
    Scene("home-stopping", Place.HOME, ui(service(ServiceState.STOPPING, on = false))),
    Scene("home-connected", Place.HOME, well, everywhere = true),
    Scene("home-relayed", Place.HOME, ui(FakeSession.running, connected.with(ConnectionState.RELAYED, 41u, 2u))),
    Scene("home-looking", Place.HOME, ui(FakeSession.running, looking)),
    Scene("home-alone", Place.HOME, ui(FakeSession.running, connected.with(ConnectionState.ALONE))),
    Scene("home-offline", Place.HOME, ui(FakeSession.running, connected.with(ConnectionState.OFFLINE))),
    Scene("home-udp-blocked", Place.HOME, ui(FakeSession.running, blocked), everywhere = true),
    Scene("home-registry-unreachable", Place.HOME, ui(FakeSession.running, connected.copy(health = listOf(alone)))),
    Scene("home-certificate-expires", Place.HOME, ui(FakeSession.running, expiringSoon)),
    Scene("home-certificate-expired", Place.HOME, ui(FakeSession.running, connected.copy(certificateSecondsLeft = -5))),
    Scene("home-revoked", Place.HOME, ui(FakeSession.running, connected.with(ConnectionState.EXCLUDED))),
    Scene("home-failed", Place.HOME, ui(service(ServiceState.FAILED, problem = full))),
    Scene("home-no-permission", Place.HOME, ui(FakeSession.off).copy(issue = Issue.NO_PERMISSION)),
    Scene("home-replaced", Place.HOME, ui(FakeSession.off).copy(issue = Issue.REPLACED), everywhere = true),
    Scene("home-switch-failed", Place.HOME, ui(FakeSession.off).copy(complaint = FakeSession.problem("busy"))),
)

private val join = listOf(
    Scene("join", Place.JOIN, ui(FakeSession.notJoined), everywhere = true),
    Scene("join-by-link", Place.JOIN, ui(FakeSession.notJoined).copy(joining = Joining(offered = "osier://join/" + "Ab3-".repeat(40)))),
    Scene("join-running", Place.JOIN, ui(FakeSession.notJoined).copy(joining = Joining(running = true))),
    Scene("join-used", Place.JOIN, ui(FakeSession.notJoined).copy(joining = Joining(refusal = FakeSession.problem("invite-used")))),
    Scene("join-member", Place.JOIN, ui(FakeSession.off)),
)

private val strange = listOf(
    Device("مكتب-الطابق-الثاني", "fd6f:7369:6572:abcd:1234:5678:9abc:def0", DevicePath.DIRECT, null, 1.234, 5u, 6u),
    Device("n".repeat(200), "fd6f:7369:6572:7::1", DevicePath.RELAYED, "v".repeat(63), null, ULong.MAX_VALUE, 0u),
)

private val pinging = well.copy(devices = devices(11), ping = pinged(devices(2)[0], 30))
private val unanswered = Pings(strange[1].address, running = false, failed = FakeSession.problem("no-route"))

private val devices = listOf(
    Scene("devices", Place.DEVICES, well.copy(devices = devices(11)), everywhere = true),
    Scene("devices-thousand", Place.DEVICES, well.copy(devices = devices(1000))),
    Scene("devices-strange-names", Place.DEVICES, well.copy(devices = strange), everywhere = true),
    Scene("devices-none", Place.DEVICES, well.copy(devices = emptyList())),
    Scene("devices-off", Place.DEVICES, ui(FakeSession.off)),
    Scene("device", Place.DEVICES, pinging, open = devices(2)[0], everywhere = true),
    Scene("device-relayed", Place.DEVICES, well.copy(devices = devices(11)), open = devices(4)[3]),
    Scene("device-strange-name", Place.DEVICES, well.copy(devices = strange, ping = unanswered), open = strange[1]),
)

private fun pinged(device: Device, count: Int): Pings = (1..count).fold(Pings(device.address)) { pings, number ->
    pings.with(PingReply(device.address, device.name, PingOutcome.ECHO, 12.0 + number * 7 % 19).takeIf { number % 9 != 0 })
}

private val checks = listOf(
    Check("membership", Verdict.OK, "pixel, in the network home", null),
    Check("node", Verdict.OK, "it runs", null),
    Check("certificate", Verdict.OK, "valid for another 20 days", null),
    Check("udp", Verdict.ERROR, "no answer to 12 datagrams in a row", "try another network, or ask its operator to permit UDP"),
    Check("round-trip", Verdict.WARNING, "no neighbour has answered within the last minute", "see what the other checks say"),
    Check("something-newer", Verdict.OK, "a check that this app has no name for", null),
)

private val others = listOf(
    Scene("topology", Place.TOPOLOGY, well.copy(topology = topology(5, 3)), everywhere = true),
    Scene("topology-crowd", Place.TOPOLOGY, well.copy(topology = topology(24, 40))),
    Scene("topology-off", Place.TOPOLOGY, ui(FakeSession.off)),
    Scene("usage", Place.USAGE, well, everywhere = true),
    Scene("usage-none", Place.USAGE, ui(FakeSession.running, connected).copy(usage = month.copy(days = emptyList()))),
    Scene("diagnostics", Place.DIAGNOSTICS, well.copy(checks = Checks(list = checks)), everywhere = true),
    Scene("diagnostics-good", Place.DIAGNOSTICS, well.copy(checks = Checks(list = checks.filter { it.verdict == Verdict.OK }))),
    Scene("diagnostics-running", Place.DIAGNOSTICS, well.copy(checks = Checks(running = true))),
    Scene("settings", Place.SETTINGS, well, everywhere = true),
    Scene("settings-apps", Place.SETTINGS, well.copy(preferences = Preferences(AppFilter.EXCEPT, setOf("a", "b"), metered = true))),
    Scene("apps", Place.APPS, well.copy(preferences = Preferences(AppFilter.EXCEPT))),
)

val scenes: List<Scene> = home + join + devices + others
