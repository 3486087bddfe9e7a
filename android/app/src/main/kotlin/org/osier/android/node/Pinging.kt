package org.osier.android.node

import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Job
import kotlinx.coroutines.delay
import kotlinx.coroutines.flow.MutableStateFlow
import kotlinx.coroutines.flow.update
import kotlinx.coroutines.launch
import org.osier.mobile.SessionInterface

/** The live ping of one device, until it is stopped. */
internal class Pinging(private val published: MutableStateFlow<UiState>, private val scope: CoroutineScope) {
    private var job: Job? = null

    fun start(session: SessionInterface?, target: String) {
        session ?: return
        stop()
        published.update { it.copy(ping = Pings(target)) }
        job = scope.launch {
            var failed = false
            val fail = { why: org.osier.mobile.Problem ->
                failed = true
                change { copy(running = false, failed = why) }
            }
            while (!failed) {
                orElse(fail) { session.ping(target, LIMIT_MS) }.let { if (!failed) change { with(it) } }
                delay(EVERY_MS)
            }
        }
    }

    fun stop() {
        job?.cancel()
        job = null
        change { copy(running = false) }
    }

    private inline fun change(how: Pings.() -> Pings) = published.update { it.copy(ping = it.ping?.how()) }

    private companion object {
        const val LIMIT_MS: UInt = 2_000u
        const val EVERY_MS = 1_000L
    }
}
