package org.osier.android.node

import org.osier.mobile.Problem
import org.osier.mobile.SessionException

/** What there is to show of an error. */
val SessionException.problem: Problem
    get() = when (this) {
        is SessionException.Invite -> why
        is SessionException.Name -> why
        is SessionException.Registry -> why
        is SessionException.Refused -> why
        is SessionException.NotJoined -> why
        is SessionException.NotRunning -> why
        is SessionException.Busy -> why
        is SessionException.NotProtected -> why
        is SessionException.Device -> why
        is SessionException.Storage -> why
        is SessionException.Argument -> why
        is SessionException.Internal -> why
    }

/** A question to the session: its answer, or `refused` is told why there is none. */
internal suspend fun <T> orElse(refused: (Problem) -> Unit, question: suspend () -> T): T? = try {
    question()
} catch (error: SessionException) {
    refused(error.problem)
    null
}
