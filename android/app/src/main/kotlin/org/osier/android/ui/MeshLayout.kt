package org.osier.android.ui

import kotlin.math.PI
import kotlin.math.abs
import kotlin.math.cos
import kotlin.math.sign
import kotlin.math.sin
import org.osier.mobile.Topology

/** Where to draw whom: ourselves in the middle, neighbours around, and behind each those it leads to; as on the desktop. */
class MeshLayout(topology: Topology, private val width: Float, height: Float) {
    enum class Kind(val radius: Float, val rank: Int) { OWN(15f, 0), NEAR(9f, 2), FAR(6f, 3), LOST(6f, 3), MORE(9f, 1) }

    class Dot(val x: Float, val y: Float, val angle: Double, val kind: Kind, val name: String, val count: Int) {
        /** Null where there is no room: the table has them all. */
        var label: Label? = null
    }

    /** `side`: to the left of its dot, on it, or to the right. */
    class Label(val text: String, val x: Float, val y: Float, val side: Int)

    class Line(val x1: Float, val y1: Float, val x2: Float, val y2: Float, val tunnel: Boolean)

    private class Branch(val name: String, val kind: Kind, val children: List<Child>)

    private class Child(val name: String, val kind: Kind, val count: Int)

    val dots = mutableListOf<Dot>()
    val lines = mutableListOf<Line>()
    private val middleX = width / 2
    private val middleY = height / 2
    private var reachX = 0f
    private val reachY = (height / 2 - 34).coerceAtLeast(60f)

    init {
        topology.nodes.find { it.own }?.let { own ->
            dots += Dot(middleX, middleY, 0.0, Kind.OWN, own.name, 1)
            val branches = branches(topology, own.name)
            // Room for labels at the sides; a crowd's are short.
            val side = if (branches.sumOf { it.children.size + 1 } > CROWD) 48 else 88
            reachX = (width / 2 - side).coerceAtLeast(60f)
            place(branches)
            addLabels()
        }
    }

    private fun place(branches: List<Branch>) {
        val sum = branches.sumOf { it.children.size.coerceAtLeast(1) }.coerceAtLeast(1)
        val near = if (branches.any { it.children.isNotEmpty() }) 0.6 else 0.9
        var turned = -PI / 2
        for (branch in branches) {
            val share = branch.children.size.coerceAtLeast(1).toDouble() / sum * 2 * PI
            // Those that nobody leads to stand outside, unlinked.
            val dot = dot(turned + share / 2, if (branch.kind == Kind.LOST) 1.0 else near, branch.kind, branch.name, 1)
            if (branch.kind == Kind.NEAR) lines += Line(middleX, middleY, dot.x, dot.y, tunnel = true)
            branch.children.forEachIndexed { index, child ->
                val end = dot(turned + (index + 0.5) / branch.children.size * share, 1.0, child.kind, child.name, child.count)
                lines += Line(dot.x, dot.y, end.x, end.y, tunnel = false)
            }
            turned += share
        }
    }

    private fun dot(angle: Double, reach: Double, kind: Kind, name: String, count: Int): Dot {
        val x = middleX + (cos(angle) * reachX * reach).toFloat()
        val y = middleY + (sin(angle) * reachY * reach).toFloat()
        return Dot(x, y, angle, kind, name, count).also { dots += it }
    }

    private fun branches(topology: Topology, own: String): List<Branch> {
        val behind = topology.links.filterNot { it.tunnel }.groupBy({ it.from }, { it.to })
        val near = topology.links.filter { it.tunnel }.map { if (it.from == own) it.to else it.from }.distinct()
        val neighbours = near.toSet()
        val found = near.map { name ->
            val names = behind[name].orEmpty().filterNot { it in neighbours }
            val fits = names.size <= MOST_BEHIND
            val children = if (fits) names.map { Child(it, Kind.FAR, 1) } else listOf(Child(name, Kind.MORE, names.size))
            Branch(name, Kind.NEAR, children)
        }
        val lost = topology.nodes.filter { !it.own && !it.reachable }
        return if (lost.size > MOST_BEHIND) found else found + lost.map { Branch(it.name, Kind.LOST, emptyList()) }
    }

    private class Box(val left: Float, val right: Float, val top: Float, val bottom: Float) {
        fun overlaps(other: Box) = left < other.right && other.left < right && top < other.bottom && other.top < bottom
    }

    /** Ourselves first, then neighbours, then the others; a label that would lie over another one or a dot is left out. */
    private fun addLabels() {
        val taken = dots.mapTo(mutableListOf()) { dot ->
            val radius = dot.kind.radius
            Box(dot.x - radius, dot.x + radius, dot.y - radius, dot.y + radius)
        }
        for (dot in dots.sortedBy { it.kind.rank }) {
            val label = label(dot)
            val box = box(label)
            if (taken.any(box::overlaps)) continue
            dot.label = label
            taken += box
        }
    }

    /** Outside its dot as seen from the middle, and inside the picture. */
    private fun label(dot: Dot): Label {
        val radius = dot.kind.radius
        val text = if (dot.kind == Kind.MORE) "+${dot.count}" else dot.name
        val dx = cos(dot.angle)
        val dy = sin(dot.angle)
        if (dot.kind == Kind.OWN) return Label(shorten(text, LONGEST), dot.x, dot.y + radius + LINE, 0)
        if (abs(dx) < 0.15) {
            return Label(shorten(text, LONGEST), dot.x, dot.y + if (dy > 0) radius + LINE - 1 else -radius - 6, 0)
        }
        val x = dot.x + sign(dx).toFloat() * (radius + 5)
        val room = ((if (dx > 0) width - EDGE - x else x - EDGE) / LETTER).toInt()
        return Label(shorten(text, minOf(LONGEST, room)), x, dot.y + 4 + (dy * 6).toFloat(), if (dx > 0) 1 else -1)
    }

    private fun box(label: Label): Box {
        val wide = label.text.codePointCount(0, label.text.length) * LETTER
        val left = if (label.side > 0) label.x else if (label.side < 0) label.x - wide else label.x - wide / 2
        return Box(left, left + wide, label.y - LINE + 4, label.y + 3)
    }

    private fun shorten(text: String, most: Int): String {
        val length = text.codePointCount(0, text.length)
        return if (length <= most) text else text.substring(0, text.offsetByCodePoints(0, (most - 1).coerceAtLeast(1))) + "…"
    }

    private companion object {
        /** More dots than these behind one neighbour become unreadable. */
        const val MOST_BEHIND = 8
        const val CROWD = 24
        const val LETTER = 7f
        const val LINE = 15f
        const val LONGEST = 14
        const val EDGE = 4f
    }
}
