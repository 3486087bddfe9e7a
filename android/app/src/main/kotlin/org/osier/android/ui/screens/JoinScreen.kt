package org.osier.android.ui.screens

import android.os.Build
import android.text.Editable
import android.text.TextWatcher
import android.widget.EditText
import android.widget.TextView
import org.osier.android.R
import org.osier.android.node.Command
import org.osier.android.node.UiState
import org.osier.android.ui.Acts
import org.osier.android.ui.Invites
import org.osier.android.ui.Place
import org.osier.android.ui.Screen
import org.osier.android.ui.Ui
import org.osier.android.ui.fill
import org.osier.android.ui.name
import org.osier.android.ui.needsInvite
import org.osier.android.ui.say
import org.osier.android.ui.show
import org.osier.android.ui.wide

/** Joining by an invite: pasted, brought by a link, or scanned. */
class JoinScreen(ui: Ui, acts: Acts) : Screen(ui, acts) {
    override val place = Place.JOIN
    private val invite = ui.field(null, lines = 3)
    private val inviteError = ui.complaint()
    private val deviceName = ui.field(null).apply { setText(Invites.proposedName(Build.MODEL)) }
    private val nameError = ui.complaint()
    private val news = ui.text("", 14f, R.color.good).apply { show(false) }
    private val refusal = ui.complaint()
    private val memberText = ui.text()
    private val member = ui.card(memberText)
    private val submit = ui.button(context.getString(R.string.join_submit), primary = true) { use() }
    private var wasRunning = false

    override val view = scrolling(
        ui.column(
            ui.hint(context.getString(R.string.join_lead)),
            member,
            ui.card(
                label(R.string.join_invite, invite),
                invite,
                ui.hint(context.getString(R.string.join_invite_hint)),
                inviteError,
                ui.row(
                    ui.button(context.getString(R.string.join_paste), act = ::paste).wide(),
                    ui.button(context.getString(R.string.phone_android_scan)) { acts.scan() }.wide(2f),
                    gap = 8,
                ),
                label(R.string.join_name, deviceName),
                deviceName,
                ui.hint(context.getString(R.string.phone_android_name_hint)),
                nameError,
                submit,
                ui.hint(context.getString(R.string.phone_android_permission)),
                news,
                refusal,
            ),
            gap = 12,
        ),
    )

    init {
        invite.changed { inviteError.say(null) }
        deviceName.changed { nameError.say(if (it.isBlank()) null else Invites.nameError(context, it)) }
    }

    private fun label(text: Int, field: EditText): TextView = ui.text(context.getString(text), 15f, bold = true).apply {
        if (field.id == android.view.View.NO_ID) field.id = android.view.View.generateViewId()
        labelFor = field.id
    }

    private fun paste() {
        val text = acts.clipboard()
        if (text.isNullOrBlank()) inviteError.say(context.getString(R.string.phone_android_paste_none)) else take(text)
    }

    private fun take(text: String) {
        invite.setText(text.trim().take(LONGEST_SHOWN))
        inviteError.say(Invites.inviteError(text)?.let(context::getString))
    }

    private fun use() {
        val wrongInvite = Invites.inviteError(invite.text.toString())
        val wrongName = Invites.nameError(context, deviceName.text.toString())
        inviteError.say(wrongInvite?.let(context::getString))
        nameError.say(wrongName)
        news.say(null)
        if (wrongInvite != null) invite.requestFocus()
        else if (wrongName != null) deviceName.requestFocus()
        else send(Command.Join(Invites.tidy(invite.text.toString()), deviceName.text.toString().trim()))
    }

    override fun render(state: UiState) {
        val joining = state.joining
        joining.offered?.let {
            take(it)
            news.say(if (inviteError.text.isEmpty()) context.getString(R.string.join_from_link) else null)
            send(Command.OfferTaken)
        }
        val network = state.service?.member?.network
        member.show(network != null && !joining.running && !state.needsInvite)
        memberText.say(network?.let { context.fill(R.string.join_already_member, "network" to name(it)) })
        submit.isEnabled = !joining.running
        submit.text = context.getString(if (joining.running) R.string.join_joining else R.string.join_submit)
        refusal.say(Invites.refusal(context, joining))
        if (wasRunning && !joining.running && joining.refusal == null && state.joined) {
            // It is spent, and was a secret until now.
            invite.text.clear()
            acts.go(Place.HOME)
        }
        wasRunning = joining.running
    }

    override fun left() {
        // Nobody who walks by later should read it.
        invite.text.clear()
        listOf(inviteError, nameError, news).forEach { it.say(null) }
    }

    private companion object {
        /** Enough to see that something is wrong with it. */
        const val LONGEST_SHOWN = 10_000
    }
}

fun EditText.changed(act: (String) -> Unit) = addTextChangedListener(object : TextWatcher {
    override fun beforeTextChanged(s: CharSequence?, start: Int, count: Int, after: Int) = Unit

    override fun onTextChanged(s: CharSequence?, start: Int, before: Int, count: Int) = Unit

    override fun afterTextChanged(s: Editable?) = act(s?.toString().orEmpty())
})
