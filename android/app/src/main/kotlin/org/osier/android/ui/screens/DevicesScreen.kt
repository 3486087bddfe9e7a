package org.osier.android.ui.screens

import android.widget.FrameLayout
import android.widget.ListView
import org.osier.android.R
import org.osier.android.node.Command
import org.osier.android.node.Topic
import org.osier.android.node.UiState
import org.osier.android.ui.Acts
import org.osier.android.ui.Choice
import org.osier.android.ui.DeviceRow
import org.osier.android.ui.Place
import org.osier.android.ui.Rows
import org.osier.android.ui.Screen
import org.osier.android.ui.Ui
import org.osier.android.ui.counted
import org.osier.android.ui.say
import org.osier.android.ui.show
import org.osier.mobile.Device
import org.osier.mobile.DevicePath

/** All devices of the network, with search; one of them in detail. */
class DevicesScreen(ui: Ui, acts: Acts) : Screen(ui, acts) {
    override val place = Place.DEVICES
    override val topic = Topic.DEVICES
    private val search = ui.field(R.string.devices_search_hint).apply { contentDescription = context.getString(R.string.devices_search) }
    private val filter = Choice(
        ui,
        listOf(
            R.string.devices_filters_all to null,
            R.string.devices_filters_direct to DevicePath.DIRECT,
            R.string.devices_filters_relayed to DevicePath.RELAYED,
            R.string.devices_filters_unreachable to DevicePath.UNREACHABLE,
        ),
    ) { showList() }
    private val count = ui.hint()
    private val empty = ui.hint()
    private val rows = Rows { DeviceRow(ui) }
    private val list = ListView(context).apply {
        adapter = rows
        divider = null
        clipToPadding = false
        setPadding(0, 0, 0, ui.dp(16))
        isVerticalScrollBarEnabled = true
        setOnItemClickListener { _, _, position, _ -> open(rows.getItem(position)) }
    }
    private val detail = DeviceDetail(ui, acts) { back() }
    private val detailView = scrolling(detail.view)
    private var all: List<Device>? = null
    private var opened: Device? = null
    private var shown: UiState? = null
    private val pane = listing(search, filter.view, count, empty, list = list)

    override val view = FrameLayout(context).apply {
        addView(pane)
        addView(detailView)
        detailView.show(false)
    }

    init {
        search.changed { showList() }
    }

    fun open(device: Device) {
        opened = device
        pane.show(false)
        detailView.show(true)
        detailView.scrollTo(0, 0)
        shown?.let { detail.render(device, it) }
    }

    override fun back(): Boolean {
        if (opened == null) return false
        opened = null
        send(Command.StopPing)
        detailView.show(false)
        pane.show(true)
        return true
    }

    override fun left() {
        back()
    }

    override fun render(state: UiState) {
        shown = state
        if (all != state.devices) {
            all = state.devices
            showList()
        }
        val text = when {
            !state.running -> R.string.devices_off
            all == null -> R.string.app_loading
            all!!.isEmpty() -> R.string.phone_android_no_devices
            rows.isEmpty -> R.string.devices_no_match
            else -> null
        }
        empty.say(text?.let(context::getString))
        val some = !all.isNullOrEmpty()
        search.show(some)
        filter.view.show(some)
        list.show(some)
        count.show(some)
        opened?.let { old -> opened = all?.find { it.address == old.address } ?: old }
        opened?.let { detail.render(it, state) }
    }

    private fun showList() {
        val words = search.text.toString().lowercase().split(' ').filter(String::isNotBlank)
        val shown = all.orEmpty().filter { device ->
            (filter.chosen == null || device.path == filter.chosen) &&
                words.all { it in "${device.name} ${device.address}".lowercase() }
        }
        rows.shown = shown
        count.say(context.counted(R.plurals.devices_shown, shown.size, "total" to all.orEmpty().size))
        if (!all.isNullOrEmpty()) empty.say(if (shown.isEmpty()) context.getString(R.string.devices_no_match) else null)
    }
}
