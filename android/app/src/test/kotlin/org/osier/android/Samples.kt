package org.osier.android

import org.osier.mobile.Connection
import org.osier.mobile.ConnectionState
import org.osier.mobile.Device
import org.osier.mobile.DevicePath
import org.osier.mobile.Health
import org.osier.mobile.Registry
import org.osier.mobile.Severity
import org.osier.mobile.Status
import org.osier.mobile.Topology
import org.osier.mobile.TopologyLink
import org.osier.mobile.TopologyNode
import org.osier.mobile.Usage
import org.osier.mobile.UsageDay

/** A node that is well; others are made from it. */
val connected = Status(
    stopping = false,
    name = "pixel",
    address = FakeSession.tun.address,
    network = "home",
    certificateSecondsLeft = 20 * 86_400,
    uptimeSeconds = 3600u,
    udpPort = 6690u,
    endpoints = listOf("192.0.2.7:6690"),
    registry = Registry(listOf("https://registry.example:6690"), true, null),
    neighbours = 4u,
    members = 12u,
    sentOctets = 734_000_000u,
    receivedOctets = 1_930_000_000u,
    connection = Connection(ConnectionState.CONNECTED, 5u, "paris", 4u, 4u, 4u, 7u, "an answer has come"),
    health = emptyList(),
)

fun Status.with(state: ConnectionState, verified: ULong? = null, neighbours: ULong = 0u) =
    copy(neighbours = neighbours, connection = connection.copy(state = state, verifiedSeconds = verified, neighbours = neighbours))

fun health(code: String, severity: Severity, text: String, fix: String) = Health(severity, code, text, fix)

fun devices(count: Int): List<Device> = (1..count).map { number ->
    val place = listOf("berlin", "oslo", "paris", "riga", "lisbon")[number % 5]
    val path = when (number % 7) {
        0 -> DevicePath.UNREACHABLE
        1, 2, 3 -> DevicePath.DIRECT
        else -> DevicePath.RELAYED
    }
    Device(
        name = "$place-${number.toString().padStart(4, '0')}",
        address = "fd6f:7369:6572:${number.toString(16)}::1",
        path = path,
        via = "paris-0002".takeIf { path == DevicePath.RELAYED },
        rttMs = (3.7 * number % 180).takeIf { path == DevicePath.DIRECT },
        sentOctets = 1_234_567uL * number.toULong(),
        receivedOctets = 7_654_321uL,
    )
}

fun topology(neighbours: Int, behind: Int): Topology {
    val names = (1..neighbours).map { devices(it).last().name }
    val far = names.flatMapIndexed { index, name -> (1..behind).map { name to "far-${index + 1}-$it" } }
    val nodes = listOf(TopologyNode("pixel", FakeSession.tun.address, true, true)) +
        (names + far.map { it.second }).map { TopologyNode(it, "fd6f::1", false, true) } + TopologyNode("attic", "fd6f::2", false, false)
    val links = names.mapIndexed { index, name -> TopologyLink("pixel", name, true, (96 + index * 7).toUShort()) } +
        far.map { (from, to) -> TopologyLink(from, to, false, 300u) }
    return Topology(nodes, links)
}

val month = Usage(
    "2026-11-28",
    (1..28).map { day ->
        val much = (day * 37 % 23 + 2).toULong() * 41_000_000u
        val carried = if (day % 3 == 0) much else 0u
        UsageDay("2026-11-${day.toString().padStart(2, '0')}", much, much * 3u, carried, carried)
    },
)
