package org.osier.android.ui.screens

import android.annotation.SuppressLint
import android.view.View
import org.osier.android.R
import org.osier.android.node
import org.osier.android.node.Command
import org.osier.android.node.UiState
import org.osier.android.ui.Acts
import org.osier.android.ui.Place
import org.osier.android.ui.Screen
import org.osier.android.ui.Ui
import org.osier.android.ui.counted
import org.osier.android.ui.fill
import org.osier.android.ui.inWords
import org.osier.android.ui.say
import org.osier.android.ui.sentence
import org.osier.android.ui.show
import org.osier.android.ui.wide
import org.osier.mobile.Check
import org.osier.mobile.Verdict

/** Each check says what it found, and what to do when it fails. */
class DiagnosticsScreen(ui: Ui, acts: Acts) : Screen(ui, acts) {
    override val place = Place.DIAGNOSTICS
    private val summary = ui.text("", 16f, bold = true).apply { accessibilityLiveRegion = View.ACCESSIBILITY_LIVE_REGION_POLITE }
    private val failed = ui.complaint()
    private val list = ui.column(gap = 16)
    private val card = ui.card(list)
    private val run = ui.button("", primary = true) { send(Command.Check) }
    private var shown: List<Check>? = null

    override val view = scrolling(
        ui.column(
            ui.hint(context.getString(R.string.diagnostics_lead)),
            summary,
            failed,
            run,
            card,
            ui.card(
                ui.hint(context.getString(R.string.diagnostics_bundle_hint)),
                ui.button(context.getString(R.string.diagnostics_bundle)) {
                    acts.save("osier-support.txt", "text/plain") { context.node.supportBundle() }
                },
            ),
            gap = 12,
        ),
    )

    init {
        summary.say(null)
    }

    override fun entered() = send(Command.Check)

    override fun render(state: UiState) {
        val checks = state.checks
        run.isEnabled = !checks.running
        run.text = context.getString(if (checks.running) R.string.diagnostics_running else R.string.diagnostics_run)
        failed.say(checks.failed?.let { context.fill(R.string.diagnostics_failed, "reason" to it.inWords()) })
        card.show(!checks.list.isNullOrEmpty())
        if (checks.list == shown) return
        shown = checks.list
        val bad = shown.orEmpty().count { it.verdict != Verdict.OK }
        summary.say(if (bad == 0) context.getString(R.string.diagnostics_all_good) else context.counted(R.plurals.diagnostics_summary, bad))
        list.removeAllViews()
        shown.orEmpty().forEach { list.addView(item(it)) }
    }

    private fun item(check: Check): View {
        val (icon, tint, word) = when (check.verdict) {
            Verdict.OK -> Triple(R.drawable.ic_check, R.color.good, R.string.diagnostics_result_ok)
            Verdict.WARNING -> Triple(R.drawable.ic_warning, R.color.warn, R.string.diagnostics_result_warning)
            Verdict.ERROR -> Triple(R.drawable.ic_error, R.color.bad, R.string.diagnostics_result_failed)
        }
        val fix = ui.text("", 14f)
        fix.say(check.fix?.let { context.fill(R.string.diagnostics_fix, "fix" to sentence(it)) })
        val head = ui.row(ui.text(nameOf(check), 15f, bold = true).wide(), ui.text(context.getString(word), 14f, tint), gap = 8)
        return ui.row(ui.icon(icon, tint), ui.column(head, ui.hint(sentence(check.seen)), fix, gap = 2).wide(), gap = 12).apply {
            gravity = android.view.Gravity.TOP
        }
    }

    /** A check that has no text here yet is shown by its name. */
    @SuppressLint("DiscouragedApi")
    private fun nameOf(check: Check): String {
        val id = context.resources.getIdentifier("diagnostics_names_" + check.name.replace('-', '_'), "string", context.packageName)
        return if (id == 0) sentence(check.name) else context.getString(id)
    }
}
