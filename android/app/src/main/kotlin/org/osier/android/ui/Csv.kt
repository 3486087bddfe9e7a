package org.osier.android.ui

import java.time.LocalDate
import org.osier.mobile.Usage
import org.osier.mobile.UsageDay

/** RFC 4180: octets, one row a day, with names that programs can rely on in every language. */
fun csv(usage: Usage): String {
    val header = "date,own_sent_octets,own_received_octets,carried_sent_octets,carried_received_octets"
    val rows = usage.days.map {
        "${it.date},${it.ownSentOctets},${it.ownReceivedOctets},${it.carriedSentOctets},${it.carriedReceivedOctets}"
    }
    return (listOf(header) + rows + "").joinToString("\r\n")
}

val UsageDay.own: ULong get() = ownSentOctets + ownReceivedOctets

/** What is carried comes in and goes out again: it counts once. */
val UsageDay.carried: ULong get() = maxOf(carriedSentOctets, carriedReceivedOctets)

/** The last days up to today, one for each date, with zeros where nothing was counted. */
fun lastDays(usage: Usage, count: Int): List<UsageDay> {
    val byDate = usage.days.associateBy { it.date }
    val today = LocalDate.parse(usage.today)
    return (count - 1 downTo 0).map { today.minusDays(it.toLong()).toString() }.map {
        byDate[it] ?: UsageDay(it, 0u, 0u, 0u, 0u)
    }
}
