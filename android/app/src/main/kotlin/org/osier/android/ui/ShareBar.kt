package org.osier.android.ui

import android.graphics.Canvas
import android.graphics.Paint
import android.graphics.Path
import android.view.View
import android.view.ViewGroup.LayoutParams.MATCH_PARENT
import android.widget.LinearLayout
import org.osier.android.R

/** How much of a day's traffic was our own, and how much was carried; the text beside it says the same. */
class ShareBar(private val ui: Ui) : View(ui.context) {
    private val paint = Paint(Paint.ANTI_ALIAS_FLAG)
    private val round = Path()
    private var own = 0f
    private var carried = 0f

    init {
        layoutParams = LinearLayout.LayoutParams(MATCH_PARENT, ui.dp(10))
        importantForAccessibility = IMPORTANT_FOR_ACCESSIBILITY_NO
    }

    fun set(own: ULong, carried: ULong) {
        val all = (own + carried).toDouble().coerceAtLeast(1.0)
        this.own = (own.toDouble() / all).toFloat()
        this.carried = (carried.toDouble() / all).toFloat()
        invalidate()
    }

    override fun onSizeChanged(w: Int, h: Int, oldw: Int, oldh: Int) {
        round.reset()
        round.addRoundRect(0f, 0f, w.toFloat(), h.toFloat(), h / 2f, h / 2f, Path.Direction.CW)
    }

    override fun onDraw(canvas: Canvas) {
        canvas.clipPath(round)
        canvas.drawColor(ui.color(R.color.edge))
        paint.color = ui.color(R.color.accent)
        canvas.drawRect(0f, 0f, width * own, height.toFloat(), paint)
        paint.color = ui.color(R.color.carried)
        canvas.drawRect(width * own, 0f, width * (own + carried), height.toFloat(), paint)
    }
}
