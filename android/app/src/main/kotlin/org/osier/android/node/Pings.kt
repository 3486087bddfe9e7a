package org.osier.android.node

import org.osier.mobile.PingOutcome
import org.osier.mobile.PingReply
import org.osier.mobile.Problem

/** What the live ping of one device has seen. */
data class Pings(
    val target: String,
    val running: Boolean = true,
    val sent: Int = 0,
    val received: Int = 0,
    val least: Double = Double.POSITIVE_INFINITY,
    val most: Double = 0.0,
    val sum: Double = 0.0,
    /** Oldest first; null is one that was lost. */
    val recent: List<Double?> = emptyList(),
    val failed: Problem? = null,
) {
    val mean: Double get() = if (received == 0) 0.0 else sum / received

    fun with(reply: PingReply?): Pings {
        val ms = reply?.takeIf { it.outcome == PingOutcome.ECHO }?.rttMs
        val counted = copy(sent = sent + 1, recent = (recent + ms).takeLast(KEPT))
        if (ms == null) return counted
        return counted.copy(received = received + 1, sum = sum + ms, least = minOf(least, ms), most = maxOf(most, ms))
    }

    companion object {
        /** The chart shows so many. */
        const val KEPT = 48
    }
}
