package org.osier.android.ui

import android.view.View
import android.widget.LinearLayout
import org.osier.android.R
import org.osier.android.node.UiState
import org.osier.mobile.Health
import org.osier.mobile.ServiceState
import org.osier.mobile.Severity

/** What needs attention, gravest first, each with a way out. */
class HealthBanner(private val ui: Ui) {
    private val list = ui.column(gap = 14)
    val view: LinearLayout = ui.card(ui.heading(R.string.home_health), list, gap = 12)
    private var shown: List<Health>? = null

    fun render(state: UiState) {
        val own = state.service?.problem?.let {
            val severity = if (state.service.state == ServiceState.FAILED) Severity.ERROR else Severity.WARNING
            Health(severity, it.code, it.text, it.fix)
        }
        val health = listOfNotNull(own) + state.health
        view.show(health.isNotEmpty())
        if (health == shown) return
        shown = health
        list.removeAllViews()
        health.forEach { list.addView(item(it)) }
    }

    private fun item(health: Health): View {
        val (icon, word) = when (health.severity) {
            Severity.ERROR -> R.drawable.ic_error to R.string.home_severity_error
            Severity.WARNING -> R.drawable.ic_warning to R.string.home_severity_warning
            Severity.INFO -> R.drawable.ic_info to R.string.home_severity_info
        }
        val title = ui.text("${ui.context.getString(word)}: ${sentence(health.text)}")
        val fix = ui.hint(ui.context.fill(R.string.home_fix, "fix" to sentence(health.fix)))
        fix.show(health.fix.isNotEmpty())
        return ui.row(ui.icon(icon, severityColor(health.severity)), ui.column(title, fix, gap = 2).wide(), gap = 12).apply {
            gravity = android.view.Gravity.TOP
        }
    }
}
