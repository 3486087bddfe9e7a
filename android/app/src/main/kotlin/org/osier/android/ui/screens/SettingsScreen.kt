package org.osier.android.ui.screens

import org.osier.android.R
import org.osier.android.node.AppFilter
import org.osier.android.node.Command
import org.osier.android.node.Preferences
import org.osier.android.node.UiState
import org.osier.android.ui.Acts
import org.osier.android.ui.Facts
import org.osier.android.ui.Place
import org.osier.android.ui.Radios
import org.osier.android.ui.Screen
import org.osier.android.ui.Toggle
import org.osier.android.ui.Ui
import org.osier.android.ui.counted
import org.osier.android.ui.date
import org.osier.android.ui.fill
import org.osier.android.ui.inWords
import org.osier.android.ui.name
import org.osier.android.ui.say
import org.osier.android.ui.show

/** How the app starts, who may use the network, and how to leave it. */
class SettingsScreen(ui: Ui, acts: Acts) : Screen(ui, acts) {
    override val place = Place.SETTINGS
    private var preferences = Preferences()
    private val boot = Toggle(ui, R.string.phone_android_start_at_boot, R.string.phone_android_start_at_boot_hint) {
        prefer { copy(startAtBoot = it) }
    }
    private val metered = Toggle(ui, R.string.phone_android_metered, R.string.phone_android_metered_hint) { prefer { copy(metered = it) } }
    private val carry = Toggle(ui, R.string.phone_android_carry, R.string.phone_android_carry_hint) { prefer { copy(carry = it) } }
    private val apps = Radios(
        ui,
        listOf(
            R.string.phone_android_apps_all to AppFilter.ALL,
            R.string.phone_android_apps_only to AppFilter.ONLY,
            R.string.phone_android_apps_except to AppFilter.EXCEPT,
        ),
    ) { prefer { copy(apps = it) } }
    private val chosen = ui.hint()
    private val choose = ui.button(context.getString(R.string.phone_android_apps_choose)) { acts.go(Place.APPS) }
    private val network = ui.text()
    private val leave = ui.button(context.getString(R.string.settings_leave), danger = true) { ask(true) }
    private val sure = ui.text()
    private val question = ui.column(
        sure,
        ui.button(context.getString(R.string.settings_leave_yes), danger = true) {
            ask(false)
            send(Command.Leave)
        },
        ui.button(context.getString(R.string.settings_leave_no)) { ask(false) },
        gap = 10,
    ).apply { show(false) }
    private val complaint = ui.complaint()
    private val networkCard = ui.card(ui.heading(R.string.settings_network), network, leave, question, complaint)
    private val facts = Facts(ui, acts).add(R.string.settings_app_version).add(R.string.settings_certificate_until)

    override val view = scrolling(
        ui.column(
            ui.card(
                ui.heading(R.string.phone_android_always_on),
                ui.hint(context.getString(R.string.phone_android_always_on_hint)),
                ui.button(context.getString(R.string.phone_android_always_on_open)) { acts.systemVpnSettings() },
                boot.view,
            ),
            ui.card(ui.heading(R.string.phone_android_apps), apps.view, chosen, choose, gap = 4),
            ui.card(ui.heading(R.string.phone_android_traffic), metered.view, carry.view),
            networkCard,
            ui.card(ui.heading(R.string.settings_about), facts.view, gap = 4),
            gap = 12,
        ),
    )

    private fun prefer(change: Preferences.() -> Preferences) = send(Command.Prefer(preferences.change()))

    private fun ask(asked: Boolean) {
        question.show(asked)
        leave.show(!asked)
    }

    override fun left() = ask(false)

    override fun render(state: UiState) {
        preferences = state.preferences
        boot.on = preferences.startAtBoot
        metered.on = preferences.metered
        carry.on = preferences.carry
        apps.set(preferences.apps)
        val some = preferences.apps != AppFilter.ALL
        choose.show(some)
        val count = preferences.packages.size
        chosen.say(
            when {
                !some -> null
                count == 0 -> context.getString(R.string.phone_android_apps_chosen_zero)
                else -> context.counted(R.plurals.phone_android_apps_chosen, count)
            },
        )
        val member = state.service?.member
        networkCard.show(member != null)
        network.say(member?.network)
        sure.say(context.fill(R.string.settings_leave_sure, "network" to name(member?.network.orEmpty())))
        complaint.say(state.complaint?.let { context.fill(R.string.settings_leave_failed, "reason" to it.inWords()) })
        facts.set(R.string.settings_app_version, context.packageManager.getPackageInfo(context.packageName, 0).versionName)
        facts.set(R.string.settings_certificate_until, member?.let { date(it.certificateNotAfterUnix) })
    }
}
