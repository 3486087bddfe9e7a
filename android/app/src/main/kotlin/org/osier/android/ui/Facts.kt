package org.osier.android.ui

import android.view.Gravity
import android.widget.LinearLayout
import android.widget.TextView
import org.osier.android.R

/** Labels and values, one below the other; a value that can be copied is copied by a tap. */
class Facts(private val ui: Ui, private val acts: Acts) {
    val view: LinearLayout = ui.column(gap = 2)
    private val values = mutableMapOf<Int, TextView>()

    fun add(label: Int, copied: Boolean = false): Facts = apply {
        val title = ui.context.getString(label)
        val value = ui.text().apply { setTextIsSelectable(!copied) }
        values[label] = value
        val name = ui.text(title, 14f, R.color.faint)
        val row = ui.row(ui.column(name, value).wide(), gap = 8)
        row.minimumHeight = ui.dp(48)
        row.gravity = Gravity.CENTER_VERTICAL
        if (copied) {
            row.addView(ui.icon(R.drawable.ic_copy, R.color.faint, 20))
            row.background = ui.pressed(null, ui.box(R.color.card, null, 8))
            row.isFocusable = true
            row.setOnClickListener { acts.copy(title, value.text.toString()) }
            row.tooltipText = ui.context.fill(R.string.app_copy, "what" to title)
        }
        view.addView(row)
    }

    fun set(label: Int, text: String?) {
        val value = values[label] ?: return
        (value.parent.parent as LinearLayout).show(!text.isNullOrEmpty())
        if (value.text.toString() != text.orEmpty()) value.text = text
    }
}
