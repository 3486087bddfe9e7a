package org.osier.android

import android.text.TextUtils
import android.view.View
import android.view.ViewGroup
import android.widget.AdapterView
import android.widget.HorizontalScrollView
import android.widget.TextView

/** On what display, and with what settings, a screen is drawn. */
enum class Look(val width: Int, val height: Int, val dark: Boolean, private val language: String, val fontScale: Float) {
    LIGHT(360, 760, false, "en-rUS-ldltr", 1f),
    DARK(360, 760, true, "en-rUS-ldltr", 1f),
    LARGE_TEXT(360, 760, false, "en-rUS-ldltr", 1.6f),
    RTL(360, 760, true, "ar-rEG-ldrtl", 1f),
    TABLET(1024, 768, false, "en-rUS-ldltr", 1f),
    ;

    val density = 2f
    val qualifiers = "$language-w${width}dp-h${height}dp-${if (dark) "night" else "notnight"}-xhdpi"

    override fun toString(): String = name.lowercase().replace('_', '-')
}

/** What of a screen can be found wrong by measuring: texts that are cut off, and things too small to be tapped. */
fun findings(root: View, width: Int, density: Float): List<String> {
    val found = mutableListOf<String>()
    fun look(view: View, scrolls: Boolean) {
        if (view.visibility != View.VISIBLE) return
        val place = IntArray(2).also(view::getLocationInWindow)
        val label = (view as? TextView)?.text?.take(40) ?: view.contentDescription ?: view.javaClass.simpleName
        if (!scrolls && (place[0] < 0 || place[0] + view.width > width)) found += "$label is outside, at ${place[0]} with ${view.width}"
        if (view is TextView && view.text.isNotEmpty()) {
            val layout = view.layout
            if (layout == null) found += "$label has no room at all"
            else if (view.ellipsize == null || view.ellipsize != TextUtils.TruncateAt.END) {
                val room = view.height - view.totalPaddingTop - view.totalPaddingBottom
                if (layout.height > room + 1 && view !is android.widget.EditText) found += "$label is cut off: $room of ${layout.height}"
            }
        }
        val small = (SMALLEST * density).toInt()
        // Text is selected by a long press on any of it; lists are tapped by their rows.
        val selected = view is TextView && view.isTextSelectable || view is AdapterView<*>
        if (view.isClickable && view.isEnabled && !selected && (view.width < small || view.height < small)) {
            found += "$label is too small to be tapped: ${view.width} × ${view.height}"
        }
        if (view is ViewGroup) {
            val inside = scrolls || view is HorizontalScrollView
            // What is below the fold is scrolled to; sideways nothing is.
            (0 until view.childCount).forEach { look(view.getChildAt(it), inside) }
        }
    }
    look(root, scrolls = false)
    return found
}

private const val SMALLEST = 48
