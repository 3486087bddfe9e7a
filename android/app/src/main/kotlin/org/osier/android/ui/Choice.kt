package org.osier.android.ui

import android.widget.HorizontalScrollView
import android.widget.LinearLayout
import android.widget.TextView
import org.osier.android.R

/** One of a few, side by side; the row scrolls where it has no room. */
class Choice<T>(private val ui: Ui, private val options: List<Pair<Int, T>>, private val changed: (T) -> Unit) {
    var chosen: T = options.first().second
        private set
    private val labels = options.map { (label, value) ->
        ui.text(ui.context.getString(label), 14f).apply {
            minHeight = ui.dp(48)
            minWidth = ui.dp(56)
            gravity = android.view.Gravity.CENTER
            textAlignment = android.view.View.TEXT_ALIGNMENT_CENTER
            isFocusable = true
            setOnClickListener { choose(value) }
        }
    }
    val view = HorizontalScrollView(ui.context).apply {
        isHorizontalScrollBarEnabled = false
        addView(ui.row(*labels.toTypedArray(), gap = 8), LinearLayout.LayoutParams.WRAP_CONTENT, LinearLayout.LayoutParams.WRAP_CONTENT)
    }

    init {
        paint()
    }

    private fun choose(value: T) {
        chosen = value
        paint()
        changed(value)
    }

    private fun paint() = options.zip(labels).forEach { (option, label) -> paint(label, option.second == chosen) }

    private fun paint(label: TextView, on: Boolean) {
        label.isSelected = on
        label.setTextColor(ui.color(if (on) R.color.accent else R.color.faint))
        val inside = if (on) ui.box(R.color.accent_soft, R.color.accent, 10) else ui.box(R.color.card, R.color.edge, 10)
        label.background = ui.pressed(android.graphics.drawable.InsetDrawable(inside, 0, ui.dp(4), 0, ui.dp(4)))
        // A background brings its own.
        label.setPadding(ui.dp(14), 0, ui.dp(14), 0)
    }
}
