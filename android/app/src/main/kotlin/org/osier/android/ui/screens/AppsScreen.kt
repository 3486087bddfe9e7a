package org.osier.android.ui.screens

import android.content.Intent
import android.graphics.drawable.Drawable
import android.view.View
import android.widget.CheckBox
import android.widget.ImageView
import android.widget.LinearLayout
import android.widget.ListView
import org.osier.android.R
import org.osier.android.node.AppFilter
import org.osier.android.node.Command
import org.osier.android.node.Preferences
import org.osier.android.node.UiState
import org.osier.android.ui.Acts
import org.osier.android.ui.Place
import org.osier.android.ui.Row
import org.osier.android.ui.Rows
import org.osier.android.ui.Screen
import org.osier.android.ui.Ui
import org.osier.android.ui.say
import org.osier.android.ui.wide

/** Which apps may, or may not, use the network. */
class AppsScreen(ui: Ui, acts: Acts) : Screen(ui, acts) {
    private class App(val label: String, val id: String, val icon: () -> Drawable)

    override val place = Place.APPS
    private var preferences = Preferences()
    private val mode = ui.hint()
    private val search = ui.field(R.string.phone_android_apps_search)
    private val none = ui.hint()
    private val rows = Rows { AppRow() }
    private val list = ListView(context).apply {
        divider = null
        adapter = rows
        setOnItemClickListener { _, _, position, _ -> flip(rows.shown[position]) }
    }
    private var all: List<App> = emptyList()
    override val view = listing(mode, search, none, list = list)

    init {
        search.changed { filter() }
    }

    /** Apps that a person can start; others have no face to choose them by. */
    override fun entered() {
        val packages = context.packageManager
        val launchers = packages.queryIntentActivities(Intent(Intent.ACTION_MAIN).addCategory(Intent.CATEGORY_LAUNCHER), 0)
        all = launchers.distinctBy { it.activityInfo.packageName }
            .filterNot { it.activityInfo.packageName == context.packageName }
            .map { App(it.loadLabel(packages).toString(), it.activityInfo.packageName) { it.loadIcon(packages) } }
            .sortedBy { it.label.lowercase() }
        filter()
    }

    private fun filter() {
        val wanted = search.text.toString().trim().lowercase()
        rows.shown = all.filter { wanted in it.label.lowercase() || wanted in it.id }
        none.say(if (rows.isEmpty) context.getString(R.string.phone_android_apps_none) else null)
    }

    private fun flip(app: App) {
        val packages = preferences.packages
        send(Command.Prefer(preferences.copy(packages = if (app.id in packages) packages - app.id else packages + app.id)))
    }

    override fun render(state: UiState) {
        val changed = preferences.packages != state.preferences.packages
        preferences = state.preferences
        val only = preferences.apps == AppFilter.ONLY
        mode.say(context.getString(if (only) R.string.phone_android_apps_only else R.string.phone_android_apps_except))
        if (changed) rows.notifyDataSetChanged()
    }

    private inner class AppRow : Row<App>() {
        private val icon = ImageView(context).apply { layoutParams = LinearLayout.LayoutParams(ui.dp(36), ui.dp(36)) }
        private val label = ui.text()
        private val box = CheckBox(context).apply {
            isClickable = false
            isFocusable = false
        }
        override val view: View = ui.row(icon, label.wide(), box, gap = 14).apply {
            minimumHeight = ui.dp(56)
        }

        override fun show(item: App) {
            icon.setImageDrawable(item.icon())
            label.text = item.label
            box.isChecked = item.id in preferences.packages
            view.contentDescription = item.label
        }
    }
}
