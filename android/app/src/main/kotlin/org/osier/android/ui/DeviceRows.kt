package org.osier.android.ui

import android.text.TextUtils
import android.view.View
import android.view.ViewGroup
import android.widget.BaseAdapter
import android.widget.TextView
import org.osier.android.R
import org.osier.mobile.Device
import org.osier.mobile.DevicePath

/** Rows of the list: name, how it is reached, and how far away it is. */
class DeviceRows(private val ui: Ui) : BaseAdapter() {
    var devices: List<Device> = emptyList()
        set(new) {
            field = new
            notifyDataSetChanged()
        }

    override fun getCount(): Int = devices.size

    override fun getItem(position: Int): Device = devices[position]

    override fun getItemId(position: Int): Long = position.toLong()

    override fun getView(position: Int, convertView: View?, parent: ViewGroup): View {
        val row = convertView ?: Row(ui).view
        (row.tag as Row).show(devices[position])
        return row
    }

    private class Row(private val ui: Ui) {
        private val dot = ui.dot()
        private val name = one(ui.text("", 15f))
        private val path = one(ui.hint())
        private val rtt = ui.hint()
        private val inner = ui.row(dot, ui.column(name, path).wide(), rtt, gap = 12)
        val view: View = inner.apply {
            minimumHeight = ui.dp(64)
            background = android.graphics.drawable.InsetDrawable(ui.box(R.color.card, R.color.edge, 10), 0, ui.dp(3), 0, ui.dp(3))
            setPadding(ui.dp(14), ui.dp(8), ui.dp(14), ui.dp(8))
            tag = this@Row
        }

        private fun one(text: TextView) = text.apply {
            maxLines = 1
            ellipsize = TextUtils.TruncateAt.END
        }

        fun show(device: Device) {
            name.text = device.name
            path.text = ui.context.pathText(device)
            rtt.text = ui.context.rttText(device)
            dot.dotColor(ui.color(pathColor(device.path)))
        }
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
