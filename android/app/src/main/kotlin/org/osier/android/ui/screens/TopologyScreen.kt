package org.osier.android.ui.screens

import android.graphics.drawable.GradientDrawable
import android.view.View
import android.widget.LinearLayout
import android.widget.ListView
import org.osier.android.R
import org.osier.android.node.Topic
import org.osier.android.node.UiState
import org.osier.android.ui.Acts
import org.osier.android.ui.MeshPicture
import org.osier.android.ui.Place
import org.osier.android.ui.Row
import org.osier.android.ui.Rows
import org.osier.android.ui.Screen
import org.osier.android.ui.Ui
import org.osier.android.ui.name
import org.osier.android.ui.say
import org.osier.android.ui.show
import org.osier.android.ui.wide
import org.osier.mobile.Topology
import org.osier.mobile.TopologyLink

/** The mesh as a picture, and the same as a table. */
class TopologyScreen(ui: Ui, acts: Acts) : Screen(ui, acts) {
    override val place = Place.TOPOLOGY
    override val topic = Topic.TOPOLOGY
    private val empty = ui.hint()
    private val picture = MeshPicture(ui)
    private val legend = ui.column(
        key(R.color.accent, R.string.topology_legend_tunnel, dashes = 0f),
        key(R.color.idle, R.string.topology_legend_behind, dashes = ui.dp(4).toFloat()),
        unreachable(),
        gap = 4,
    ).apply { importantForAccessibility = View.IMPORTANT_FOR_ACCESSIBILITY_NO_HIDE_DESCENDANTS }
    private val header = ui.column(ui.card(picture, legend), ui.heading(R.string.topology_table), gap = 12).apply {
        setPadding(0, 0, 0, ui.dp(8))
    }
    private val rows = Rows { LinkRow() }
    private val list = ListView(context).apply {
        divider = null
        addHeaderView(header, null, false)
        adapter = rows
        clipToPadding = false
        setPadding(0, 0, 0, ui.dp(16))
    }
    override val view = listing(empty, list = list)

    private fun key(color: Int, text: Int, dashes: Float): View {
        val line = View(context).apply {
            background = GradientDrawable().apply {
                shape = GradientDrawable.LINE
                setStroke(ui.dp(2), ui.color(color), dashes, dashes)
            }
            layoutParams = LinearLayout.LayoutParams(ui.dp(20), ui.dp(6))
        }
        return ui.row(line, ui.hint(context.getString(text)), gap = 8)
    }

    private fun unreachable(): View {
        val ring = View(context).apply {
            background = GradientDrawable().apply {
                shape = GradientDrawable.OVAL
                setStroke(ui.dp(2), ui.color(R.color.idle))
            }
            layoutParams = LinearLayout.LayoutParams(ui.dp(12), ui.dp(12))
        }
        return ui.row(ring, ui.hint(context.getString(R.string.topology_legend_unreachable)), gap = 8)
    }

    override fun render(state: UiState) {
        val topology = state.topology
        val some = topology != null && topology.links.isNotEmpty()
        val text = if (!state.running) R.string.devices_off else if (topology == null) R.string.app_loading else R.string.topology_empty
        empty.say(if (some) null else context.getString(text))
        list.show(some)
        if (some) show(topology)
    }

    private fun show(topology: Topology) {
        picture.topology = topology
        if (rows.shown != topology.links) rows.shown = topology.links
    }

    private inner class LinkRow : Row<TopologyLink>() {
        private val ends = ui.text("", 15f)
        private val kind = ui.hint()
        private val cost = ui.text("", 15f, R.color.faint)
        override val view: View = ui.row(ui.column(ends, kind).wide(), cost, gap = 12).apply {
            setPadding(ui.dp(4), ui.dp(8), ui.dp(4), ui.dp(8))
            minimumHeight = ui.dp(56)
        }

        override fun show(item: TopologyLink) {
            ends.text = "${name(item.from)} – ${name(item.to)}"
            kind.text = context.getString(if (item.tunnel) R.string.topology_tunnel else R.string.topology_behind)
            cost.say(item.cost?.let { "${context.getString(R.string.topology_cost)} $it" })
        }
    }
}
