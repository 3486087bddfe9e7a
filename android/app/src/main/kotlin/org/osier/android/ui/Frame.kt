package org.osier.android.ui

import android.view.Gravity
import android.view.View
import android.view.ViewGroup.LayoutParams.MATCH_PARENT
import android.widget.FrameLayout
import android.widget.ImageView
import android.widget.LinearLayout
import android.widget.TextView
import org.osier.android.R
import org.osier.android.node.UiState
import org.osier.android.ui.screens.AppsScreen
import org.osier.android.ui.screens.DevicesScreen
import org.osier.android.ui.screens.DiagnosticsScreen
import org.osier.android.ui.screens.HomeScreen
import org.osier.android.ui.screens.JoinScreen
import org.osier.android.ui.screens.SettingsScreen
import org.osier.android.ui.screens.TopologyScreen
import org.osier.android.ui.screens.UsageScreen

/** Around all screens: where one is, the state line, and the ways to the others. */
class Frame(private val ui: Ui, private val acts: Acts) {
    private class Way(val place: Place, val view: LinearLayout, val icon: ImageView, val label: TextView)

    private val context = ui.context
    private val screens = mutableMapOf<Place, Screen>()
    private val title = ui.text("", 20f, bold = true).apply { isAccessibilityHeading = true }
    private val dot = ui.dot()
    private val line = ui.hint().apply {
        maxLines = 1
        ellipsize = android.text.TextUtils.TruncateAt.END
    }
    private val stateRow = ui.row(dot, line.wide(), gap = 8)
    private val back = ui.iconButton(R.drawable.ic_back, context.getString(R.string.app_back), R.color.text) { acts.go(upFrom(place)) }
    private val diagnostics = corner(R.drawable.ic_diagnostics, R.string.nav_diagnostics, Place.DIAGNOSTICS)
    private val settings = corner(R.drawable.ic_settings, R.string.nav_settings, Place.SETTINGS)
    private val bar = ui.row(back, ui.column(title, stateRow).wide(), diagnostics, settings).apply {
        minimumHeight = ui.dp(64)
    }
    private val content = FrameLayout(context)
    private val ways = listOf(
        way(Place.HOME, R.drawable.ic_home, R.string.nav_home),
        way(Place.DEVICES, R.drawable.ic_devices, R.string.nav_devices),
        way(Place.TOPOLOGY, R.drawable.ic_topology, R.string.nav_topology),
        way(Place.USAGE, R.drawable.ic_usage, R.string.nav_usage),
    )
    private val nav = ui.row(*ways.map { it.view.wide() }.toTypedArray()).apply { setBackgroundColor(ui.color(R.color.card)) }

    val view = ui.column(bar, content, nav).apply { setBackgroundColor(ui.color(R.color.ground)) }

    var place = Place.HOME
        private set
    val screen: Screen get() = screens.getValue(place)

    init {
        content.layoutParams = LinearLayout.LayoutParams(MATCH_PARENT, 0, 1f)
        open(Place.HOME)
    }

    private fun corner(icon: Int, label: Int, place: Place) = ui.iconButton(icon, context.getString(label)) { acts.go(place) }

    private fun way(place: Place, icon: Int, label: Int): Way {
        val image = ui.icon(icon, R.color.faint)
        val text = ui.text(context.getString(label), 12f, R.color.faint).apply {
            gravity = Gravity.CENTER
            textAlignment = View.TEXT_ALIGNMENT_CENTER
            maxLines = 1
            ellipsize = android.text.TextUtils.TruncateAt.END
        }
        val view = ui.column(image, text).apply {
            gravity = Gravity.CENTER
            minimumHeight = ui.dp(60)
            isFocusable = true
            background = ui.pressed(null, ui.box(R.color.card, null, 8))
            setOnClickListener { acts.go(place) }
        }
        return Way(place, view, image, text)
    }

    private fun make(place: Place): Screen = when (place) {
        Place.HOME -> HomeScreen(ui, acts)
        Place.DEVICES -> DevicesScreen(ui, acts)
        Place.TOPOLOGY -> TopologyScreen(ui, acts)
        Place.USAGE -> UsageScreen(ui, acts)
        Place.DIAGNOSTICS -> DiagnosticsScreen(ui, acts)
        Place.SETTINGS -> SettingsScreen(ui, acts)
        Place.JOIN -> JoinScreen(ui, acts)
        Place.APPS -> AppsScreen(ui, acts)
    }

    fun open(next: Place) {
        screens[place]?.let { if (next != place) it.left() }
        place = next
        val screen = screens.getOrPut(next) { make(next) }
        if (screen.view.parent == null) {
            content.removeAllViews()
            content.addView(screen.view, FrameLayout.LayoutParams(MATCH_PARENT, MATCH_PARENT))
        }
        screen.entered()
        title.setText(titles.getValue(next))
        val top = ways.any { it.place == next }
        back.show(!top)
        bar.setPaddingRelative(ui.dp(if (top) 16 else 4), ui.dp(6), ui.dp(4), ui.dp(6))
        diagnostics.show(next != Place.DIAGNOSTICS && next != Place.APPS)
        settings.show(next != Place.SETTINGS && next != Place.APPS)
        ways.forEach { way ->
            val on = way.place == next
            way.view.isSelected = on
            val tint = ui.color(if (on) R.color.accent else R.color.faint)
            way.icon.imageTintList = android.content.res.ColorStateList.valueOf(tint)
            way.label.setTextColor(tint)
        }
    }

    /** False when there is nothing to go back to. */
    fun back(): Boolean {
        if (screen.back()) return true
        if (place == Place.HOME) return false
        acts.go(upFrom(place))
        return true
    }

    private fun upFrom(place: Place) = if (place == Place.APPS) Place.SETTINGS else Place.HOME

    fun render(state: UiState) {
        // The home screen has it in large letters.
        stateRow.show(place != Place.HOME)
        line.text = context.stateLine(state)
        dot.dotColor(ui.color(faceColor(state.line?.face)))
        // Without a network there is nothing behind the other ways.
        nav.show(state.joined)
        screen.render(state)
    }

    private companion object {
        val titles = mapOf(
            Place.HOME to R.string.app_name,
            Place.DEVICES to R.string.nav_devices,
            Place.TOPOLOGY to R.string.nav_topology,
            Place.USAGE to R.string.nav_usage,
            Place.DIAGNOSTICS to R.string.nav_diagnostics,
            Place.SETTINGS to R.string.nav_settings,
            Place.JOIN to R.string.join_title,
            Place.APPS to R.string.phone_android_apps,
        )
    }
}
