package org.osier.android.ui

import org.osier.android.R
import org.osier.android.node.UiState
import org.osier.mobile.Face
import org.osier.mobile.Severity
import org.osier.mobile.StateKind

fun faceColor(face: Face?): Int = when (face) {
    Face.OFF, null -> R.color.idle
    Face.CONNECTING -> R.color.busy
    Face.CONNECTED -> R.color.good
    Face.LIMITED -> R.color.warn
    Face.ATTENTION -> R.color.bad
}

fun severityColor(severity: Severity): Int = when (severity) {
    Severity.ERROR -> R.color.bad
    Severity.WARNING -> R.color.warn
    Severity.INFO -> R.color.busy
}

/** A member like that can only come back with a new invite. */
val UiState.needsInvite: Boolean get() = line?.kind == StateKind.REVOKED || line?.kind == StateKind.CERTIFICATE_EXPIRED
