package org.osier.android.ui

import android.view.View
import android.view.ViewGroup.LayoutParams.MATCH_PARENT
import android.view.ViewGroup.LayoutParams.WRAP_CONTENT
import android.widget.FrameLayout
import android.widget.LinearLayout
import android.widget.ScrollView
import org.osier.android.node.Command
import org.osier.android.node.Topic
import org.osier.android.node.UiState

/** One screen: it shows the state and sends commands. */
abstract class Screen(val ui: Ui, val acts: Acts) {
    abstract val place: Place
    abstract val view: View
    open val topic: Topic = Topic.STATE

    abstract fun render(state: UiState)

    /** It is shown now. */
    open fun entered() = Unit

    /** Another one is shown. */
    open fun left() = Unit

    /** Whether it had something to go back to of its own. */
    open fun back(): Boolean = false

    protected val context get() = ui.context

    protected fun send(command: Command) = acts.send(command)

    /** What is longer than the display scrolls; on wide ones it keeps a width that can be read. */
    /** A list that scrolls by itself, under what stays. */
    protected fun listing(vararg above: View, list: View): ReadableWidth {
        val content = ui.column(*above, gap = 10)
        content.addView(list, LinearLayout.LayoutParams(MATCH_PARENT, 0, 1f))
        content.setPadding(ui.dp(16), ui.dp(8), ui.dp(16), 0)
        return ReadableWidth(ui, content, MATCH_PARENT)
    }

    protected fun scrolling(content: View): ScrollView = ScrollView(ui.context).apply {
        isFillViewport = true
        clipToPadding = false
        val margin = ui.dp(16)
        content.setPadding(margin, ui.dp(8), margin, margin)
        addView(ReadableWidth(ui, content), FrameLayout.LayoutParams(MATCH_PARENT, WRAP_CONTENT))
    }
}

/** What a screen asks of the activity that shows it. */
interface Acts {
    fun send(command: Command)

    fun go(place: Place)

    fun copy(label: String, text: String)

    fun clipboard(): String?

    fun scan()

    /** Has the user choose a file, and writes into it what `content` gives. */
    fun save(name: String, type: String, content: suspend () -> String)

    fun systemVpnSettings()
}

enum class Place { HOME, DEVICES, TOPOLOGY, USAGE, DIAGNOSTICS, SETTINGS, JOIN, APPS }

/** Holds its one child to the width that lines can be read at, in the middle. */
class ReadableWidth(private val ui: Ui, content: View, height: Int = WRAP_CONTENT) : FrameLayout(ui.context) {
    init {
        addView(content, LayoutParams(MATCH_PARENT, height))
    }

    override fun onMeasure(widthMeasureSpec: Int, heightMeasureSpec: Int) {
        val width = MeasureSpec.getSize(widthMeasureSpec)
        val side = ((width - ui.dp(WIDEST)) / 2).coerceAtLeast(0)
        setPadding(side, 0, side, 0)
        super.onMeasure(widthMeasureSpec, heightMeasureSpec)
    }

    private companion object {
        const val WIDEST = 640
    }
}
