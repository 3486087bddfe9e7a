package org.osier.android.ui

import android.content.Context
import java.text.DateFormat
import java.util.Date
import java.util.Locale
import org.osier.android.R
import org.osier.android.node.UiState
import org.osier.mobile.Problem
import org.osier.mobile.StateKind
import org.osier.mobile.StateLine

/** A text with its {placeholders} filled; one that has no value stays as it is, so that it is noticed. */
fun Context.fill(id: Int, vararg values: Pair<String, Any>): String = filled(getString(id), values)

/** The form of a text for a count, which also fills {count}. */
fun Context.counted(id: Int, count: Int, vararg values: Pair<String, Any>): String =
    filled(resources.getQuantityString(id, count), arrayOf("count" to count, *values))

private fun filled(text: String, values: Array<out Pair<String, Any>>): String =
    values.fold(text) { now, (name, value) -> now.replace("{$name}", value.toString()) }

fun Context.stateLine(state: UiState): String {
    val line = state.line ?: return getString(if (state.service == null) R.string.state_loading else R.string.state_failed)
    return when (line.kind) {
        StateKind.NOT_JOINED -> getString(R.string.state_not_joined)
        StateKind.JOINING -> getString(R.string.state_joining)
        StateKind.OFF -> getString(R.string.state_off)
        StateKind.STOPPING -> getString(R.string.state_stopping)
        StateKind.STARTING -> getString(R.string.state_starting)
        StateKind.FAILED -> getString(R.string.state_failed)
        StateKind.REVOKED -> getString(R.string.state_revoked)
        StateKind.CERTIFICATE_EXPIRED -> getString(R.string.state_certificate_expired)
        StateKind.OFFLINE -> getString(R.string.state_offline)
        StateKind.UDP_BLOCKED -> getString(R.string.state_udp_blocked)
        StateKind.ALONE -> getString(R.string.state_alone)
        StateKind.LOOKING -> fill(R.string.state_looking, "found" to line.neighbours, "wanted" to line.wanted)
        StateKind.CERTIFICATE_EXPIRES -> expires(line.daysLeft.toInt())
        StateKind.REGISTRY_UNREACHABLE -> getString(R.string.state_registry_unreachable)
        StateKind.RELAYED -> getString(R.string.state_relayed)
        StateKind.CONNECTED -> counted(R.plurals.state_connected, line.neighbours.toInt())
    }
}

private fun Context.expires(days: Int): String =
    if (days == 0) getString(R.string.state_certificate_expires_zero) else counted(R.plurals.state_certificate_expires, days)

/** One or two sentences more. */
fun Context.stateDetail(state: UiState): String {
    val line = state.line ?: return ""
    val ago = "ago" to duration(line.verifiedSeconds?.toLong() ?: 0)
    val who = "who" to name(line.verifiedWith.orEmpty())
    val network = "network" to name(line.network)
    return when (line.kind) {
        StateKind.NOT_JOINED -> getString(R.string.join_lead)
        StateKind.JOINING -> getString(R.string.state_detail_joining)
        StateKind.OFF -> fill(R.string.state_detail_off, network)
        StateKind.STOPPING -> getString(R.string.state_detail_stopping)
        StateKind.STARTING -> getString(R.string.state_detail_starting)
        StateKind.FAILED -> getString(R.string.state_detail_failed)
        StateKind.REVOKED -> fill(R.string.state_detail_revoked, network)
        StateKind.CERTIFICATE_EXPIRED -> fill(R.string.state_detail_certificate_expired, network)
        StateKind.OFFLINE -> getString(R.string.state_detail_offline)
        StateKind.UDP_BLOCKED -> getString(R.string.state_detail_udp_blocked)
        StateKind.ALONE -> fill(R.string.state_detail_alone, network)
        StateKind.LOOKING -> getString(R.string.state_detail_looking)
        StateKind.CERTIFICATE_EXPIRES -> expiring(line, ago)
        StateKind.REGISTRY_UNREACHABLE -> fill(R.string.state_detail_registry_unreachable, ago)
        StateKind.RELAYED -> fill(R.string.state_detail_relayed, ago, who)
        StateKind.CONNECTED -> fill(R.string.state_detail_connected, ago, who)
    }
}

private fun Context.expiring(line: StateLine, ago: Pair<String, String>): String =
    if (line.verifiedSeconds == null) getString(R.string.state_detail_certificate_expires_silent)
    else fill(R.string.state_detail_certificate_expires, ago)

/** `90` as "1 minute": rounded down to its largest unit. */
fun Context.duration(seconds: Long): String = when {
    seconds < 60 -> counted(R.plurals.ago_seconds, seconds.toInt())
    seconds < 3600 -> counted(R.plurals.ago_minutes, (seconds / 60).toInt())
    seconds < 86_400 -> counted(R.plurals.ago_hours, (seconds / 3600).toInt())
    else -> counted(R.plurals.ago_days, (seconds / 86_400).toInt())
}

/** `1234567` as "1.23 MB": decimal units, three digits. */
fun Context.octets(count: ULong): String {
    val units = listOf(R.string.units_b, R.string.units_kb, R.string.units_mb, R.string.units_gb, R.string.units_tb)
    var value = count.toDouble()
    var unit = 0
    // 999.5 would be written as 1000.
    while (value >= 999.5 && unit < units.lastIndex) {
        value /= 1000
        unit += 1
    }
    val digits = if (unit == 0 || value >= 99.95) 0 else if (value >= 9.995) 1 else 2
    return "${number(value, digits)} ${getString(units[unit])}"
}

fun milliseconds(ms: Double): String = number(ms, if (ms < 10) 2 else if (ms < 100) 1 else 0)

private fun number(value: Double, digits: Int): String = String.format(Locale.getDefault(), "%.${digits}f", value)

fun date(unixSeconds: ULong): String =
    DateFormat.getDateInstance(DateFormat.LONG).format(Date(unixSeconds.toLong() * 1000))

/** The core's words, as a sentence begins. */
fun sentence(text: String): String = text.replaceFirstChar { it.uppercase() }

/** What went wrong and what to do, in one line. */
fun Problem.inWords(): String = if (fix.isEmpty()) text else "$text. ${sentence(fix)}"

/** Somebody's name in a text of ours: isolated, as it may be of a script that runs the other way. */
fun name(text: String): String = if (text.isEmpty()) text else "\u2068$text\u2069"
