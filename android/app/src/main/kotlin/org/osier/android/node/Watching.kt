package org.osier.android.node

import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Job
import kotlinx.coroutines.delay
import kotlinx.coroutines.flow.MutableStateFlow
import kotlinx.coroutines.flow.update
import kotlinx.coroutines.launch
import org.osier.mobile.ServiceState
import org.osier.mobile.ServiceView
import org.osier.mobile.SessionInterface

/**
 * Keeps what is shown fresh: every two seconds while a screen is open, every half a minute for the notification while
 * the phone is in use, and not at all otherwise.
 */
internal class Watching(
    private val core: Core,
    private val host: Host,
    private val published: MutableStateFlow<UiState>,
    private val scope: CoroutineScope,
) {
    /** Nothing is asked of one that is not there any more. */
    var session: SessionInterface? = null
        set(new) {
            field = new
            polls?.cancel()
            asked?.cancel()
            if (new != null) poll()
        }
    private var topic: Topic? = null

    /** Whether a notification is there to be seen. */
    private var interactive = false
    private var polls: Job? = null
    private var asked: Job? = null

    /** When `status` came. */
    private var at = 0L

    fun topic(new: Topic?) {
        topic = new
        poll()
    }

    fun interactive(now: Boolean) {
        interactive = now
        poll()
    }

    /** Something has happened that changes what is shown. */
    fun soon() {
        if (topic == null && !interactive) return
        if (asked?.isActive == true) return
        asked = scope.launch {
            delay(SOON_MS)
            refresh()
        }
    }

    private fun poll() {
        polls?.cancel()
        val every = if (topic != null) OPEN_MS else if (interactive) IN_USE_MS else return
        polls = scope.launch {
            while (true) {
                refresh()
                delay(every)
            }
        }
    }

    fun service(service: ServiceView) {
        val running = service.state == ServiceState.RUNNING
        published.update {
            val status = it.status.takeIf { running }
            it.copy(
                service = service,
                status = status,
                line = core.stateLine(service, status, age()),
                health = if (running) it.health else emptyList(),
                devices = it.devices.takeIf { running },
                topology = it.topology.takeIf { running },
            )
        }
        if (running && published.value.status == null) soon()
    }

    private suspend fun refresh() {
        val session = session ?: return
        orElse({}) { session.service() }?.let { service(it) }
        if (published.value.service?.state == ServiceState.RUNNING) {
            orElse({}) { session.status() }?.let { status ->
                at = host.now()
                published.update { it.copy(status = status, health = status.health) }
            }
        }
        published.value.service?.let { service(it) }
        if (published.value.service?.member != null) details(session)
    }

    /** An answer that does not come leaves what was shown; the state line says what is wrong. */
    private suspend fun details(session: SessionInterface) {
        when (topic) {
            Topic.DEVICES -> orElse({}) { session.devices() }?.let { new -> published.update { it.copy(devices = new) } }
            Topic.TOPOLOGY -> orElse({}) { session.topology() }?.let { new -> published.update { it.copy(topology = new) } }
            Topic.USAGE, Topic.STATE ->
                orElse({}) { session.usage(USAGE_DAYS) }?.let { new -> published.update { it.copy(usage = new) } }
            null -> Unit
        }
    }

    fun check() {
        val session = session ?: return
        if (published.value.checks.running) return
        published.update { it.copy(checks = it.checks.copy(running = true, failed = null)) }
        scope.launch {
            val list = orElse({ why -> published.update { it.copy(checks = it.checks.copy(failed = why)) } }) { session.checks() }
            published.update { it.copy(checks = it.checks.copy(running = false, list = list ?: it.checks.list)) }
        }
    }

    private fun age(): ULong = (host.now() - at).coerceAtLeast(0).toULong()

    private companion object {
        const val OPEN_MS = 2_000L
        const val IN_USE_MS = 30_000L
        const val SOON_MS = 300L
        const val USAGE_DAYS: UInt = 400u
    }
}
