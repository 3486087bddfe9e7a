package org.osier.android.ui

import android.text.TextUtils
import android.view.View
import android.widget.TextView
import org.osier.android.R
import org.osier.mobile.Device
import org.osier.mobile.DevicePath

/** A device in the list: name, how it is reached, and how far away it is. */
class DeviceRow(private val ui: Ui) : Row<Device>() {
    private val dot = ui.dot()
    private val name = one(ui.text("", 15f))
    private val path = one(ui.hint())
    private val rtt = ui.hint()
    override val view: View = ui.row(dot, ui.column(name, path).wide(), rtt, gap = 12).apply {
        minimumHeight = ui.dp(64)
        background = android.graphics.drawable.InsetDrawable(ui.box(R.color.card, R.color.edge, 10), 0, ui.dp(3), 0, ui.dp(3))
        setPadding(ui.dp(14), ui.dp(8), ui.dp(14), ui.dp(8))
    }

    private fun one(text: TextView) = text.apply {
        maxLines = 1
        ellipsize = TextUtils.TruncateAt.END
    }

    override fun show(item: Device) {
        name.text = item.name
        path.text = ui.context.pathText(item)
        rtt.text = ui.context.rttText(item)
        dot.dotColor(ui.color(pathColor(item.path)))
    }
}

fun pathColor(path: DevicePath): Int = when (path) {
    DevicePath.DIRECT -> R.color.good
    DevicePath.RELAYED -> R.color.busy
    DevicePath.UNREACHABLE -> R.color.idle
}

fun android.content.Context.pathText(device: Device): String = when (device.path) {
    DevicePath.DIRECT -> getString(R.string.devices_direct)
    DevicePath.RELAYED -> device.via?.let { fill(R.string.devices_relayed, "via" to name(it)) } ?: getString(R.string.devices_relayed_plain)
    DevicePath.UNREACHABLE -> getString(R.string.devices_unreachable)
}

fun android.content.Context.rttText(device: Device): String =
    device.rttMs?.let { fill(R.string.devices_rtt, "ms" to milliseconds(it)) } ?: getString(R.string.devices_no_rtt)
