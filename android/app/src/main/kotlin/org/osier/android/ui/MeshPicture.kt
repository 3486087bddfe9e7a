package org.osier.android.ui

import android.graphics.Canvas
import android.graphics.DashPathEffect
import android.graphics.Paint
import android.view.View
import android.view.ViewGroup.LayoutParams.MATCH_PARENT
import android.widget.LinearLayout
import org.osier.android.R
import org.osier.mobile.Topology

/** The mesh as this device sees it; the table below it holds the same. */
class MeshPicture(private val ui: Ui) : View(ui.context) {
    private val paint = Paint(Paint.ANTI_ALIAS_FLAG)
    private val dashes = DashPathEffect(floatArrayOf(4f, 4f), 0f)
    private val density = resources.displayMetrics.density
    private var layout: MeshLayout? = null
    var topology: Topology? = null
        set(new) {
            if (new == field) return
            field = new
            arrange()
            val tunnels = new?.links?.count { it.tunnel } ?: 0
            contentDescription = context.fill(R.string.topology_picture, "nodes" to (new?.nodes?.size ?: 0), "tunnels" to tunnels)
        }

    init {
        layoutParams = LinearLayout.LayoutParams(MATCH_PARENT, ui.dp(380))
    }

    override fun onSizeChanged(w: Int, h: Int, oldw: Int, oldh: Int) = arrange()

    private fun arrange() {
        layout = topology?.takeIf { width > 0 }?.let { MeshLayout(it, width / density, height / density) }
        invalidate()
    }

    override fun onDraw(canvas: Canvas) {
        val layout = layout ?: return
        canvas.scale(density, density)
        layout.lines.forEach { draw(canvas, it) }
        layout.dots.forEach { draw(canvas, it) }
        layout.dots.forEach { dot -> dot.label?.let { draw(canvas, it, dot.kind == MeshLayout.Kind.OWN) } }
    }

    private fun draw(canvas: Canvas, line: MeshLayout.Line) {
        paint.style = Paint.Style.STROKE
        paint.strokeWidth = if (line.tunnel) 2f else 1f
        paint.color = ui.color(if (line.tunnel) R.color.accent else R.color.idle)
        paint.pathEffect = if (line.tunnel) null else dashes
        canvas.drawLine(line.x1, line.y1, line.x2, line.y2, paint)
        paint.pathEffect = null
    }

    private fun draw(canvas: Canvas, dot: MeshLayout.Dot) {
        val ring = dot.kind == MeshLayout.Kind.NEAR || dot.kind == MeshLayout.Kind.LOST
        paint.style = Paint.Style.FILL
        paint.color = ui.color(
            when (dot.kind) {
                MeshLayout.Kind.OWN -> R.color.accent
                MeshLayout.Kind.NEAR, MeshLayout.Kind.LOST -> R.color.card
                MeshLayout.Kind.FAR, MeshLayout.Kind.MORE -> R.color.idle
            },
        )
        canvas.drawCircle(dot.x, dot.y, dot.kind.radius, paint)
        if (!ring) return
        paint.style = Paint.Style.STROKE
        paint.strokeWidth = 2.5f
        paint.color = ui.color(if (dot.kind == MeshLayout.Kind.NEAR) R.color.accent else R.color.idle)
        canvas.drawCircle(dot.x, dot.y, dot.kind.radius, paint)
    }

    private fun draw(canvas: Canvas, label: MeshLayout.Label, own: Boolean) {
        paint.textSize = 12f
        paint.isFakeBoldText = own
        paint.textAlign = if (label.side > 0) Paint.Align.LEFT else if (label.side < 0) Paint.Align.RIGHT else Paint.Align.CENTER
        // Lines that pass beneath it are kept off.
        paint.style = Paint.Style.STROKE
        paint.strokeWidth = 4f
        paint.color = ui.color(R.color.card)
        canvas.drawText(name(label.text), label.x, label.y, paint)
        paint.style = Paint.Style.FILL
        paint.color = ui.color(R.color.text)
        canvas.drawText(name(label.text), label.x, label.y, paint)
    }
}
