package org.osier.android.ui.screens

import android.view.Gravity
import org.osier.android.R
import org.osier.android.node.Command
import org.osier.android.node.Pings
import org.osier.android.node.UiState
import org.osier.android.ui.Acts
import org.osier.android.ui.Facts
import org.osier.android.ui.PingChart
import org.osier.android.ui.Ui
import org.osier.android.ui.fill
import org.osier.android.ui.inWords
import org.osier.android.ui.milliseconds
import org.osier.android.ui.octets
import org.osier.android.ui.pathColor
import org.osier.android.ui.pathText
import org.osier.android.ui.rttText
import org.osier.android.ui.say
import org.osier.android.ui.show
import org.osier.android.ui.wide
import org.osier.mobile.Device

/** One device: how it is reached, and a live ping. */
class DeviceDetail(private val ui: Ui, private val acts: Acts, private val close: () -> Unit) {
    private val context = ui.context
    private val title = ui.text("", 20f, bold = true).apply { isAccessibilityHeading = true }
    private val path = ui.text("", 15f)
    private val facts = Facts(ui, acts)
        .add(R.string.device_address, copied = true)
        .add(R.string.devices_column_rtt)
        .add(R.string.device_sent)
        .add(R.string.device_received)
    private val chart = PingChart(ui)
    private val result = ui.hint()
    private val failed = ui.complaint()
    private val toggle = ui.button("") { flip() }
    private var device: Device? = null
    private var pinging = false

    private val back = ui.iconButton(R.drawable.ic_back, context.getString(R.string.app_back), R.color.text) { close() }

    val view = ui.column(
        ui.card(
            ui.row(back, ui.column(title, path, gap = 4).wide(), gap = 4).apply { gravity = Gravity.TOP },
        ).apply { setPaddingRelative(ui.dp(4), ui.dp(12), ui.dp(16), ui.dp(16)) },
        ui.card(ui.heading(R.string.device_facts), facts.view, gap = 4),
        ui.card(ui.heading(R.string.device_ping), chart, result, failed, toggle),
        gap = 12,
    )

    private fun flip() {
        val device = device ?: return
        acts.send(if (pinging) Command.StopPing else Command.Ping(device.address))
    }

    fun render(device: Device, state: UiState) {
        this.device = device
        title.say(device.name)
        title.setPadding(0, ui.dp(8), 0, 0)
        path.say(context.pathText(device))
        path.setTextColor(ui.color(pathColor(device.path)))
        facts.set(R.string.device_address, device.address)
        facts.set(R.string.devices_column_rtt, context.rttText(device))
        facts.set(R.string.device_sent, context.octets(device.sentOctets))
        facts.set(R.string.device_received, context.octets(device.receivedOctets))
        render(state.ping?.takeIf { it.target == device.address })
    }

    private fun render(ping: Pings?) {
        pinging = ping?.running == true
        toggle.text = context.getString(if (pinging) R.string.device_ping_stop else R.string.device_ping_start)
        chart.show(ping != null && ping.sent > 0)
        chart.recent = ping?.recent.orEmpty()
        failed.say(ping?.failed?.let { context.fill(R.string.device_ping_failed, "reason" to it.inWords()) })
        result.say(
            when {
                ping == null || ping.sent == 0 -> if (pinging) null else context.getString(R.string.device_ping_idle)
                ping.received == 0 -> context.fill(R.string.device_ping_none, "sent" to ping.sent)
                else -> context.fill(
                    R.string.device_ping_result,
                    "received" to ping.received,
                    "sent" to ping.sent,
                    "min" to milliseconds(ping.least),
                    "mean" to milliseconds(ping.mean),
                    "max" to milliseconds(ping.most),
                )
            },
        )
    }
}
