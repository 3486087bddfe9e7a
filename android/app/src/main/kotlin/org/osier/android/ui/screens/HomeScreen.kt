package org.osier.android.ui.screens

import android.view.View
import android.view.ViewGroup.LayoutParams.MATCH_PARENT
import android.widget.LinearLayout
import android.widget.TextView
import org.osier.android.R
import org.osier.android.node.Command
import org.osier.android.node.Issue
import org.osier.android.node.UiState
import org.osier.android.ui.Acts
import org.osier.android.ui.Facts
import org.osier.android.ui.HealthBanner
import org.osier.android.ui.Place
import org.osier.android.ui.Screen
import org.osier.android.ui.ShareBar
import org.osier.android.ui.Ui
import org.osier.android.ui.carried
import org.osier.android.ui.faceColor
import org.osier.android.ui.fill
import org.osier.android.ui.inWords
import org.osier.android.ui.lastDays
import org.osier.android.ui.needsInvite
import org.osier.android.ui.octets
import org.osier.android.ui.own
import org.osier.android.ui.say
import org.osier.android.ui.show
import org.osier.android.ui.stateDetail
import org.osier.android.ui.stateLine
import org.osier.android.ui.wide
import org.osier.mobile.StateKind

/** The switch, the state, who we are, and what needs attention. */
class HomeScreen(ui: Ui, acts: Acts) : Screen(ui, acts) {
    override val place = Place.HOME
    private val line = ui.text("", 22f, bold = true).apply { accessibilityLiveRegion = View.ACCESSIBILITY_LIVE_REGION_POLITE }
    private val detail = ui.hint()
    private val complaint = ui.complaint()
    private val switch = ui.switch().apply {
        contentDescription = context.getString(R.string.home_switch_label)
        minHeight = ui.dp(48)
        minWidth = ui.dp(48)
        // The state comes from the core alone: a tap asks for it.
        setOnClickListener {
            val wanted = isChecked
            isChecked = !wanted
            send(Command.Switch(wanted))
        }
    }
    private val join = ui.button(context.getString(R.string.join_title), primary = true) { acts.go(Place.JOIN) }
    private val issueText = ui.text("", 15f)
    private val issueFix = ui.button("") { send(Command.Switch(true)) }
    private val issue = ui.card(issueText, issueFix).apply { background = ui.box(R.color.warn_soft, R.color.warn) }
    private val banner = HealthBanner(ui)
    private val figures = listOf(R.string.home_neighbours, R.string.home_members, R.string.home_sent, R.string.home_received)
        .associateWith { figure(it) }
    private val figuresCard = ui.column(
        ui.row(*figures.values.take(2).map { it.parent as View }.toTypedArray(), gap = 12),
        ui.row(*figures.values.drop(2).map { it.parent as View }.toTypedArray(), gap = 12),
        gap = 12,
    )
    private val facts = Facts(ui, acts).add(R.string.home_name, copied = true).add(R.string.home_address, copied = true)
        .add(R.string.home_network)
    private val device = ui.card(ui.heading(R.string.home_this_device), facts.view, gap = 4)
    private val bar = ShareBar(ui)
    private val todayText = ui.hint()
    private val today = ui.card(ui.heading(R.string.home_today), bar, todayText)

    override val view = scrolling(
        ui.column(
            ui.card(ui.row(ui.column(line, detail, complaint, gap = 6).wide(), switch, gap = 20), join, gap = 14),
            issue,
            banner.view,
            figuresCard,
            device,
            today,
            gap = 12,
        ),
    )

    private fun figure(label: Int): TextView {
        val value = ui.text("", 20f, bold = true)
        ui.card(value, ui.hint(context.getString(label)), gap = 2).apply {
            layoutParams = LinearLayout.LayoutParams(0, MATCH_PARENT, 1f)
        }
        return value
    }

    override fun render(state: UiState) {
        line.say(context.stateLine(state))
        line.setTextColor(ui.color(faceColor(state.line?.face)))
        detail.say(context.stateDetail(state))
        complaint.say(state.complaint?.let { context.fill(R.string.home_switch_failed, "reason" to it.inWords()) })
        val on = state.line?.on
        switch.show(state.joined && on != null)
        switch.isChecked = on == true
        switch.isEnabled = !state.switching
        join.show(state.line?.kind == StateKind.NOT_JOINED || state.needsInvite)
        issue.show(state.issue != null)
        val replaced = state.issue == Issue.REPLACED
        issueText.setText(if (replaced) R.string.phone_android_replaced else R.string.phone_android_no_permission)
        issueFix.setText(if (replaced) R.string.phone_android_replaced_fix else R.string.phone_android_allow)
        banner.render(state)
        renderDevice(state)
        renderFigures(state)
    }

    private fun renderDevice(state: UiState) {
        val member = state.service?.member
        device.show(member != null)
        facts.set(R.string.home_name, state.status?.name ?: member?.name)
        facts.set(R.string.home_address, member?.address)
        facts.set(R.string.home_network, member?.network)
    }

    private fun renderFigures(state: UiState) {
        val status = state.status
        figuresCard.show(status != null)
        if (status != null) {
            figures.getValue(R.string.home_neighbours).text = status.neighbours.toString()
            figures.getValue(R.string.home_members).text = status.members.toString()
            figures.getValue(R.string.home_sent).text = context.octets(status.sentOctets)
            figures.getValue(R.string.home_received).text = context.octets(status.receivedOctets)
        }
        val day = state.usage?.takeIf { state.joined }?.let { lastDays(it, 1).first() }
        today.show(day != null)
        if (day == null) return
        bar.set(day.own, day.carried)
        todayText.text = context.fill(
            R.string.home_today_used,
            "own" to context.octets(day.own),
            "carried" to context.octets(day.carried),
        )
    }
}
