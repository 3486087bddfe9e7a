package org.osier.android.ui

import android.content.Context
import org.osier.android.R
import org.osier.android.node.Joining

/** What can be said about an invite and a name before anybody is asked; as on the desktop. */
object Invites {
    const val PREFIX = "osier://join/"
    private const val LONGEST_NAME = 63

    /** Longer than any invite; a pasted book is not sent. */
    private const val LONGEST_INVITE = 8192
    private val REST = Regex("[A-Za-z0-9_-]+")
    private val NAME = Regex("[a-z0-9]([a-z0-9-]*[a-z0-9])?", RegexOption.IGNORE_CASE)

    /** White space comes in by e-mail. */
    fun tidy(invite: String): String = invite.filterNot(Char::isWhitespace)

    /** What is wrong with the invite; null when it is worth asking. */
    fun inviteError(invite: String): Int? {
        val text = tidy(invite)
        return when {
            text.isEmpty() -> R.string.join_error_empty
            !text.startsWith(PREFIX) -> R.string.join_error_not_invite
            text.length > LONGEST_INVITE || !REST.matches(text.removePrefix(PREFIX)) -> R.string.join_error_invalid
            else -> null
        }
    }

    /** What is wrong with the device's name. */
    fun nameError(context: Context, name: String): String? {
        val text = name.trim()
        val length = text.codePointCount(0, text.length)
        return when {
            length > LONGEST_NAME -> context.fill(R.string.join_error_name_too_long, "count" to length)
            !NAME.matches(text) -> context.getString(R.string.join_error_bad_name)
            else -> null
        }
    }

    /** A name from the device's model, which the user may change: phones have no good host name. */
    fun proposedName(model: String): String {
        val plain = model.lowercase().replace(Regex("[^a-z0-9]+"), "-").trim('-')
        return plain.take(LONGEST_NAME).trimEnd('-').ifEmpty { "phone" }
    }

    /** Why the registry or the core refused. */
    fun refusal(context: Context, joining: Joining): String? {
        val why = joining.refusal ?: return null
        return when (why.code) {
            "invite-invalid" -> context.getString(R.string.join_error_invalid)
            "invite-expired" -> context.getString(R.string.join_error_expired)
            "invite-used" -> context.getString(R.string.join_error_used)
            "invite-unknown" -> context.getString(R.string.join_error_unknown)
            "name-invalid" -> context.getString(R.string.join_error_bad_name)
            "name-taken" -> context.fill(R.string.join_error_name_taken, "name" to name(joining.name.orEmpty()))
            "wrong-network" -> context.getString(R.string.join_error_other_network)
            "registry-unreachable" -> context.getString(R.string.join_error_unreachable)
            else -> context.fill(R.string.join_error_other, "reason" to why.inWords())
        }
    }
}
