package org.osier.android.ui

import android.graphics.Canvas
import android.graphics.Paint
import android.view.View
import android.view.ViewGroup.LayoutParams.MATCH_PARENT
import android.widget.LinearLayout
import org.osier.android.R
import org.osier.mobile.UsageDay

/** Traffic of the last days as bars: carried on top of our own. */
class UsageChart(private val ui: Ui) : View(ui.context) {
    private val paint = Paint(Paint.ANTI_ALIAS_FLAG)
    var days: List<UsageDay> = emptyList()
        set(new) {
            field = new
            contentDescription = context.fill(R.string.usage_chart, "count" to new.size)
            invalidate()
        }

    init {
        layoutParams = LinearLayout.LayoutParams(MATCH_PARENT, ui.dp(180))
    }

    override fun onDraw(canvas: Canvas) {
        if (days.isEmpty()) return
        val most = days.maxOf { it.own + it.carried }.toDouble().coerceAtLeast(1.0)
        val labels = ui.dp(22).toFloat()
        val base = height - labels
        val step = width.toFloat() / days.size
        paint.color = ui.color(R.color.edge)
        canvas.drawRect(0f, base, width.toFloat(), base + ui.dp(1), paint)
        days.forEachIndexed { index, day -> draw(canvas, day, index * step, step, base, most) }
        label(canvas, days.first().date, 0f, Paint.Align.LEFT)
        label(canvas, days.last().date, width.toFloat(), Paint.Align.RIGHT)
    }

    private fun draw(canvas: Canvas, day: UsageDay, x: Float, step: Float, base: Float, most: Double) {
        val left = x + step * 0.15f
        val right = x + step * 0.85f
        val own = (base * (day.own.toDouble() / most)).toFloat()
        val carried = (base * (day.carried.toDouble() / most)).toFloat()
        paint.color = ui.color(R.color.accent)
        canvas.drawRect(left, base - own, right, base, paint)
        paint.color = ui.color(R.color.carried)
        canvas.drawRect(left, base - own - carried, right, base - own, paint)
    }

    private fun label(canvas: Canvas, text: String, x: Float, side: Paint.Align) {
        paint.color = ui.color(R.color.faint)
        paint.textSize = ui.dp(12).toFloat()
        paint.textAlign = side
        canvas.drawText(text, x, height - ui.dp(5).toFloat(), paint)
    }

    companion object {
        const val DAYS = 30
    }
}
