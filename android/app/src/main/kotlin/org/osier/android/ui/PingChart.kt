package org.osier.android.ui

import android.graphics.Canvas
import android.graphics.Paint
import android.view.View
import android.view.ViewGroup.LayoutParams.MATCH_PARENT
import android.widget.LinearLayout
import org.osier.android.R
import org.osier.android.node.Pings

/** Round trips as bars, oldest first; a lost one is a mark at the bottom. */
class PingChart(private val ui: Ui) : View(ui.context) {
    private val paint = Paint(Paint.ANTI_ALIAS_FLAG)
    var recent: List<Double?> = emptyList()
        set(new) {
            field = new
            contentDescription = context.fill(R.string.device_ping_chart, "count" to new.size)
            invalidate()
        }

    init {
        layoutParams = LinearLayout.LayoutParams(MATCH_PARENT, ui.dp(72))
    }

    override fun onDraw(canvas: Canvas) {
        val most = recent.filterNotNull().maxOrNull() ?: 1.0
        val step = width.toFloat() / Pings.KEPT
        val base = height.toFloat()
        recent.forEachIndexed { index, ms ->
            val left = index * step
            paint.color = ui.color(if (ms == null) R.color.bad else R.color.accent)
            val tall = if (ms == null) ui.dp(6).toFloat() else (base * ms / most).toFloat().coerceAtLeast(ui.dp(2).toFloat())
            canvas.drawRect(left, base - tall, left + step * 0.7f, base, paint)
        }
    }
}
