package org.osier.android.ui

import android.view.View
import android.widget.LinearLayout
import android.widget.RadioButton
import android.widget.Switch
import org.osier.android.R

/** A switch with what it does below; all of it can be tapped. */
class Toggle(ui: Ui, title: Int, hint: Int, changed: (Boolean) -> Unit) {
    private val switch = ui.switch().apply {
        isClickable = false
        isFocusable = false
        importantForAccessibility = View.IMPORTANT_FOR_ACCESSIBILITY_NO
        background = null
    }
    val view: LinearLayout = ui.row(
        ui.column(ui.text(ui.context.getString(title)), ui.hint(ui.context.getString(hint)), gap = 2).wide(),
        switch,
        gap = 16,
    ).apply {
        minimumHeight = ui.dp(48)
        background = ui.pressed(null, ui.box(R.color.card, null, 8))
        isFocusable = true
        setOnClickListener { changed(!switch.isChecked) }
    }

    var on: Boolean by switch::checked
}

private var Switch.checked: Boolean
    get() = isChecked
    set(new) {
        isChecked = new
    }

/** One of several, one below the other. */
class Radios<T>(ui: Ui, options: List<Pair<Int, T>>, changed: (T) -> Unit) {
    private val buttons = options.map { (label, value) ->
        value to RadioButton(ui.context).apply {
            text = ui.context.getString(label)
            textSize = 15f
            setTextColor(ui.color(R.color.text))
            buttonTintList = ui.states(android.R.attr.state_checked, R.color.accent, R.color.field)
            minHeight = ui.dp(48)
            setOnClickListener { changed(value) }
        }
    }
    val view: LinearLayout = ui.column(*buttons.map { it.second }.toTypedArray())

    fun set(chosen: T) = buttons.forEach { (value, button) -> button.isChecked = value == chosen }
}
