package org.osier.android.ui.screens

import android.view.View
import org.osier.android.R
import org.osier.android.node.Topic
import org.osier.android.node.UiState
import org.osier.android.ui.Acts
import org.osier.android.ui.Place
import org.osier.android.ui.Screen
import org.osier.android.ui.Ui
import org.osier.android.ui.UsageChart
import org.osier.android.ui.carried
import org.osier.android.ui.csv
import org.osier.android.ui.dotColor
import org.osier.android.ui.lastDays
import org.osier.android.ui.octets
import org.osier.android.ui.say
import org.osier.android.ui.show
import org.osier.mobile.Usage
import org.osier.mobile.UsageDay

/** What went through this device, by day. */
class UsageScreen(ui: Ui, acts: Acts) : Screen(ui, acts) {
    override val place = Place.USAGE
    override val topic = Topic.USAGE
    private val empty = ui.hint()
    private val chart = UsageChart(ui)
    private val legend = ui.row(
        key(R.color.accent, R.string.usage_legend_own),
        key(R.color.carried, R.string.usage_legend_carried),
        gap = 16,
    ).apply { importantForAccessibility = View.IMPORTANT_FOR_ACCESSIBILITY_NO_HIDE_DESCENDANTS }
    private val days = ui.column(gap = 8)
    private val export = ui.button(context.getString(R.string.usage_export)) { save() }
    private val content = ui.column(ui.card(chart, legend), export, days, gap = 12)
    private var usage: Usage? = null

    override val view = scrolling(ui.column(ui.hint(context.getString(R.string.usage_lead)), empty, content, gap = 12))

    private fun key(color: Int, text: Int): View =
        ui.row(ui.dot().apply { dotColor(ui.color(color)) }, ui.hint(context.getString(text)), gap = 8)

    private fun save() {
        val usage = usage ?: return
        acts.save("osier-usage-${usage.today}.csv", "text/csv") { csv(usage) }
    }

    override fun render(state: UiState) {
        val new = state.usage?.takeIf { state.joined }
        val some = new != null && new.days.isNotEmpty()
        empty.say(if (some) null else context.getString(R.string.usage_empty))
        content.show(some)
        if (new == usage || new == null) return
        usage = new
        chart.days = lastDays(new, UsageChart.DAYS)
        days.removeAllViews()
        // The chart's days and no more: the file has them all.
        new.days.takeLast(UsageChart.DAYS).asReversed().forEach { days.addView(row(it)) }
    }

    private fun row(day: UsageDay): View {
        fun part(label: Int, octets: ULong) = ui.hint("${context.getString(label)}: ${context.octets(octets)}")
        return ui.card(
            ui.text(day.date, 15f, bold = true),
            part(R.string.usage_own_sent, day.ownSentOctets),
            part(R.string.usage_own_received, day.ownReceivedOctets),
            part(R.string.usage_carried, day.carried),
            gap = 2,
        )
    }
}
