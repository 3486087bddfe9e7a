package org.osier.android.ui

import android.content.Context
import android.content.res.ColorStateList
import android.graphics.Typeface
import android.graphics.drawable.Drawable
import android.graphics.drawable.GradientDrawable
import android.graphics.drawable.LayerDrawable
import android.graphics.drawable.RippleDrawable
import android.text.InputType
import android.util.TypedValue
import android.view.Gravity
import android.view.View
import android.view.ViewGroup.LayoutParams.MATCH_PARENT
import android.view.ViewGroup.LayoutParams.WRAP_CONTENT
import android.view.inputmethod.EditorInfo
import android.widget.Button
import android.widget.EditText
import android.widget.ImageView
import android.widget.LinearLayout
import android.widget.Switch
import android.widget.TextView
import org.osier.android.R

/** Makes the views of which screens are built, in the app's colours and measures. */
class Ui(val context: Context) {
    fun dp(count: Int): Int = (count * context.resources.displayMetrics.density).toInt()

    fun color(id: Int): Int = context.getColor(id)

    fun column(vararg children: View, gap: Int = 0): LinearLayout = line(LinearLayout.VERTICAL, children, gap)

    fun row(vararg children: View, gap: Int = 0): LinearLayout =
        line(LinearLayout.HORIZONTAL, children, gap).apply { gravity = Gravity.CENTER_VERTICAL }

    private fun line(direction: Int, children: Array<out View>, gap: Int) = LinearLayout(context).apply {
        orientation = direction
        if (gap > 0) {
            showDividers = LinearLayout.SHOW_DIVIDER_MIDDLE
            dividerDrawable = GradientDrawable().apply { setSize(dp(gap), dp(gap)) }
        }
        val wide = if (direction == LinearLayout.VERTICAL) MATCH_PARENT else WRAP_CONTENT
        children.forEach { addView(it, it.layoutParams ?: LinearLayout.LayoutParams(wide, WRAP_CONTENT)) }
    }

    fun card(vararg children: View, gap: Int = 10): LinearLayout = column(*children, gap = gap).apply {
        background = box(R.color.card, R.color.edge)
        setPadding(dp(16), dp(16), dp(16), dp(16))
    }

    fun box(fill: Int, edge: Int?, radius: Int = 12): GradientDrawable = GradientDrawable().apply {
        setColor(color(fill))
        cornerRadius = dp(radius).toFloat()
        if (edge != null) setStroke(dp(1), color(edge))
    }

    fun text(text: CharSequence = "", size: Float = 15f, color: Int = R.color.text, bold: Boolean = false): TextView =
        TextView(context).apply {
            this.text = text
            setTextSize(TypedValue.COMPLEX_UNIT_SP, size)
            setTextColor(color(color))
            if (bold) typeface = Typeface.create("sans-serif-medium", Typeface.NORMAL)
            textDirection = View.TEXT_DIRECTION_FIRST_STRONG
            textAlignment = View.TEXT_ALIGNMENT_VIEW_START
        }

    fun heading(id: Int): TextView = text(context.getString(id), 16f, bold = true).apply { isAccessibilityHeading = true }

    fun hint(text: CharSequence = ""): TextView = text(text, 14f, R.color.faint)

    /** What is wrong; read aloud when it appears. */
    fun complaint(): TextView = text("", 14f, R.color.bad).apply {
        accessibilityLiveRegion = View.ACCESSIBILITY_LIVE_REGION_POLITE
        visibility = View.GONE
    }

    fun button(text: CharSequence, primary: Boolean = false, danger: Boolean = false, act: () -> Unit): Button = Button(context).apply {
        this.text = text
        isAllCaps = false
        stateListAnimator = null
        minHeight = dp(48)
        minimumHeight = dp(48)
        setTextSize(TypedValue.COMPLEX_UNIT_SP, 15f)
        setPadding(dp(16), dp(8), dp(16), dp(8))
        val ink = if (primary) R.color.on_accent else if (danger) R.color.bad else R.color.accent
        setTextColor(states(-android.R.attr.state_enabled, R.color.idle, ink))
        val plain = if (primary) box(R.color.accent, null, 10) else box(R.color.card, if (danger) R.color.bad else R.color.field, 10)
        val quiet = box(R.color.ground, R.color.edge, 10)
        background = pressed(android.graphics.drawable.StateListDrawable().apply {
            addState(intArrayOf(-android.R.attr.state_enabled), quiet)
            addState(intArrayOf(), plain)
        })
        setOnClickListener { act() }
    }

    fun pressed(content: Drawable?, mask: Drawable? = null): RippleDrawable =
        RippleDrawable(ColorStateList.valueOf(color(R.color.accent_soft)), content, mask)

    fun field(hint: Int?, lines: Int = 1): EditText = EditText(context).apply {
        if (hint != null) setHint(hint)
        setTextSize(TypedValue.COMPLEX_UNIT_SP, 15f)
        setTextColor(color(R.color.text))
        setHintTextColor(color(R.color.faint))
        background = box(R.color.card, R.color.field, 8)
        setPadding(dp(12), dp(10), dp(12), dp(10))
        minimumHeight = dp(48)
        val plain = InputType.TYPE_CLASS_TEXT or InputType.TYPE_TEXT_FLAG_NO_SUGGESTIONS or InputType.TYPE_TEXT_VARIATION_VISIBLE_PASSWORD
        inputType = if (lines > 1) plain or InputType.TYPE_TEXT_FLAG_MULTI_LINE else plain
        typeface = Typeface.DEFAULT
        textDirection = View.TEXT_DIRECTION_FIRST_STRONG
        if (lines > 1) {
            minLines = lines
            maxLines = lines + 2
            gravity = Gravity.TOP or Gravity.START
        }
        // What is typed here is nothing to learn from.
        imeOptions = EditorInfo.IME_FLAG_NO_PERSONALIZED_LEARNING
        importantForAutofill = View.IMPORTANT_FOR_AUTOFILL_NO
    }

    fun icon(id: Int, tint: Int, size: Int = 24): ImageView = ImageView(context).apply {
        setImageResource(id)
        imageTintList = ColorStateList.valueOf(color(tint))
        layoutParams = LinearLayout.LayoutParams(dp(size), dp(size))
        importantForAccessibility = View.IMPORTANT_FOR_ACCESSIBILITY_NO
    }

    fun iconButton(id: Int, label: CharSequence, tint: Int = R.color.faint, act: () -> Unit): ImageView = icon(id, tint).apply {
        layoutParams = LinearLayout.LayoutParams(dp(48), dp(48))
        scaleType = ImageView.ScaleType.CENTER
        background = pressed(null, box(R.color.card, null, 24))
        contentDescription = label
        importantForAccessibility = View.IMPORTANT_FOR_ACCESSIBILITY_YES
        isFocusable = true
        setOnClickListener { act() }
    }

    /** One colour in a state of a view's, and another one otherwise. */
    fun states(state: Int, then: Int, otherwise: Int) =
        ColorStateList(arrayOf(intArrayOf(state), intArrayOf()), intArrayOf(color(then), color(otherwise)))

    fun switch(): Switch = Switch(context).apply {
        trackDrawable = GradientDrawable().apply {
            cornerRadius = dp(14).toFloat()
            setSize(dp(48), dp(28))
            setColor(states(android.R.attr.state_checked, R.color.accent, R.color.field))
        }
        val knob = GradientDrawable().apply {
            shape = GradientDrawable.OVAL
            setSize(dp(22), dp(22))
            setColor(color(R.color.card))
        }
        // An InsetDrawable would shrink the track as well.
        thumbDrawable = LayerDrawable(arrayOf(knob)).apply { setLayerInset(0, dp(3), dp(3), dp(3), dp(3)) }
        switchMinWidth = dp(52)
        splitTrack = false
    }

    /** A round mark beside a text that says the same. */
    fun dot(): View = View(context).apply {
        layoutParams = LinearLayout.LayoutParams(dp(10), dp(10))
        background = GradientDrawable().apply { shape = GradientDrawable.OVAL }
    }
}

fun View.dotColor(color: Int) = (background as GradientDrawable).setColor(color)

fun View.show(visible: Boolean) {
    visibility = if (visible) View.VISIBLE else View.GONE
}

/** Empty text takes no room; equal text is left alone, so that nothing is read aloud twice. */
fun TextView.say(text: CharSequence?) {
    show(!text.isNullOrEmpty())
    if (this.text.toString() != text?.toString().orEmpty()) this.text = text
}

/** As wide as what is left. */
fun <V : View> V.wide(weight: Float = 1f): V = apply { layoutParams = LinearLayout.LayoutParams(0, WRAP_CONTENT, weight) }
