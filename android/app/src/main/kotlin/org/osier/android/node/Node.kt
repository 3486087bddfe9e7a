package org.osier.android.node

import android.util.Log
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Job
import kotlinx.coroutines.channels.Channel
import kotlinx.coroutines.flow.MutableStateFlow
import kotlinx.coroutines.flow.StateFlow
import kotlinx.coroutines.flow.asStateFlow
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.flow.mapNotNull
import kotlinx.coroutines.flow.update
import kotlinx.coroutines.isActive
import kotlinx.coroutines.launch
import org.osier.mobile.Event
import org.osier.mobile.NetworkInfo
import org.osier.mobile.Problem
import org.osier.mobile.ServiceState
import org.osier.mobile.ServiceView
import org.osier.mobile.SessionInterface
import org.osier.mobile.StateLine
import org.osier.mobile.Status

/** The core, as the app opens it. A fake one stands in for it in tests. */
interface Core {
    /** Blocks while the state is read; [protect] is called from any thread. */
    suspend fun open(leaf: Boolean, protect: (Int) -> Boolean): SessionInterface

    fun stateLine(service: ServiceView, status: Status?, ageMs: ULong): StateLine
}

/**
 * Owns the session, and decides all there is to decide on this side: one loop takes commands, another the session's
 * events, and both run on the scope's one thread. It lives as long as the process; the VPN service comes and goes.
 */
class Node(
    private val core: Core,
    private val host: Host,
    private val store: PreferenceStore,
    private val scope: CoroutineScope,
) {
    private val published = MutableStateFlow(UiState(preferences = store.load()))
    val state: StateFlow<UiState> = published.asStateFlow()

    private val inbox = Channel<Command>(WAITING)
    private val watching = Watching(core, host, published, scope)
    private val pinging = Pinging(published, scope)
    private val device = DeviceKeeper(published, host, scope) { session }
    private var session: SessionInterface? = null
    private var events: Job? = null

    /** What waits for the VPN permission. */
    private var pending: Command? = null

    /** Where the switch is to go in the end. */
    private var wanted = false
    private var network: NetworkInfo? = null
    private var awake = true

    fun start() {
        scope.launch {
            open()
            for (command in inbox) carryOut(command)
        }
    }

    fun send(command: Command) {
        if (inbox.trySend(command).isFailure) Log.w(TAG, "too much at once: ${command.javaClass.simpleName} is left out")
    }

    /** The VPN service is there. Not a command: the system may stop it again before the loop comes to it. */
    fun attach(tunnel: Tunnel) {
        device.tunnel = tunnel
        scope.launch {
            // A node that was started before it could protect its sockets has failed.
            if (state.value.service?.state == ServiceState.FAILED) orElse(::complain) { session?.wake() }
            device.settle()
        }
    }

    /** Tells what the service is as soon as that is known. */
    fun whenKnown(tell: (ServiceView) -> Unit) {
        scope.launch { tell(state.mapNotNull { it.service }.first()) }
    }

    /** What somebody who helps needs; the core's words when there is none. */
    suspend fun supportBundle(): String {
        var why = ""
        return orElse({ why = it.text }) { session?.supportBundle() } ?: why
    }

    private suspend fun open() {
        val leaf = !state.value.preferences.carry
        val opened = orElse({ failedToOpen(it) }) { core.open(leaf) { fd -> device.tunnel?.protectSocket(fd) ?: false } }
        session = opened
        watching.session = opened
        if (opened == null) return
        network?.let(opened::networkChanged)
        events = scope.launch {
            while (isActive) happened(opened.nextEvent() ?: break)
        }
    }

    private fun failedToOpen(problem: Problem) = watching.service(ServiceView(ServiceState.FAILED, false, null, problem))

    /** With other properties: a session has those that it was opened with. */
    private suspend fun reopen() {
        val old = session
        session = null
        watching.session = null
        pinging.stop()
        orElse(::complain) { old?.stop() }
        events?.join()
        device.forget()
        // Its threads end now, not when somebody collects the garbage.
        (old as? AutoCloseable)?.close()
        open()
    }

    private suspend fun happened(event: Event) {
        when (event) {
            is Event.ServiceChanged -> {
                // Until the session is told to do something, the service that has just been started has nothing to do.
                val done = state.value.service?.wantsService() == true
                known(event.service, mayRelease = done)
            }
            is Event.HealthChanged -> published.update { it.copy(health = event.health) }
            is Event.DeviceLost -> device.lost()
            is Event.NeighbourUp, is Event.NeighbourDown, is Event.Excluded, is Event.Missed -> watching.soon()
        }
    }

    private suspend fun known(service: ServiceView, mayRelease: Boolean = true) {
        watching.service(service)
        device.settle()
        val busy = state.value.switching || state.value.joining.running
        if (service.wantsService()) host.startWhenAllowed() else if (mayRelease && !busy) device.release()
    }

    private fun ServiceView.wantsService() = on && member != null || state == ServiceState.JOINING || state == ServiceState.STOPPING

    private fun Host.startWhenAllowed() {
        if (device.tunnel != null) return
        if (mayTunnel()) startService() else published.update { it.copy(issue = Issue.NO_PERMISSION) }
    }

    private suspend fun carryOut(command: Command) {
        when (command) {
            is Command.Switch -> if (command.on) permitted(command) { switch(true) } else switch(false)
            is Command.Resume -> resume()
            is Command.Join -> permitted(command) { join(command) }
            is Command.Offer -> joining { copy(offered = command.invite, refusal = null) }
            is Command.OfferTaken -> joining { copy(offered = null) }
            is Command.Leave -> leave()
            is Command.Permission -> answered(command.granted)
            is Command.Watch -> watching.topic(command.topic)
            is Command.Check -> watching.check()
            is Command.Ping -> pinging.start(session, command.target)
            is Command.StopPing -> pinging.stop()
            is Command.Prefer -> prefer(command.preferences)
            is Command.NetworkChanged -> tell(NetworkInfo(command.addresses))
            is Command.Power -> power(command)
            is Command.Revoked -> revoked()
            is Command.Gone -> gone(command.tunnel)
        }
    }

    /** Does it, or keeps it until the user has answered. */
    private inline fun permitted(command: Command, act: () -> Unit) {
        if (host.mayTunnel()) {
            published.update { it.copy(issue = null) }
            act()
        } else {
            pending = command
            published.update { it.copy(askPermission = true) }
        }
    }

    private suspend fun answered(granted: Boolean) {
        val waiting = pending
        pending = null
        published.update { it.copy(askPermission = false, issue = if (granted) null else Issue.NO_PERMISSION) }
        if (granted && waiting != null) carryOut(waiting)
    }

    /** Takes a while, in which other commands pass. */
    private fun switch(on: Boolean) {
        val session = session ?: return
        wanted = on
        if (state.value.switching) return
        published.update { it.copy(switching = true, complaint = null, issue = null) }
        if (on) host.startWhenAllowed()
        scope.launch {
            if (on) device.waitForTunnel()
            val service = orElse(::complain) { session.switchOn(on) } ?: orElse({}) { this@Node.session?.service() }
            published.update { it.copy(switching = false) }
            if (service != null) known(service)
            // Something else was wanted in between, such as an end because another VPN has taken over.
            if (wanted != on) switch(!on)
        }
    }

    private suspend fun resume() {
        orElse(::complain) { session?.service() }?.let { known(it) }
    }

    private fun join(command: Command.Join) {
        val session = session ?: return
        if (state.value.joining.running) return
        joining { copy(running = true, refusal = null, name = command.name) }
        host.startWhenAllowed()
        scope.launch {
            device.waitForTunnel()
            val refused = { problem: Problem -> joining { copy(refusal = problem) } }
            val member = orElse(refused) { session.join(command.invite, command.name) }
            joining { copy(running = false) }
            if (member == null) resume()
            watching.soon()
        }
    }

    private fun leave() {
        val session = session ?: return
        published.update { it.copy(complaint = null) }
        scope.launch { orElse(::complain) { session.leave() }?.let { known(it) } }
    }

    private fun revoked() {
        device.forget()
        switch(false)
        published.update { it.copy(issue = Issue.REPLACED) }
    }

    private fun gone(tunnel: Tunnel) {
        device.gone(tunnel)
        // Its notification is gone with it.
        if (device.tunnel == null) watching.interactive(false)
    }

    private suspend fun prefer(new: Preferences) {
        val old = state.value.preferences
        store.save(new)
        published.update { it.copy(preferences = new) }
        if (new.carry != old.carry) reopen() else if (!new.sameDevice(old)) device.renew()
    }

    private fun tell(now: NetworkInfo) {
        network = now
        session?.networkChanged(now)
        watching.soon()
    }

    private suspend fun power(now: Command.Power) {
        watching.interactive(now.interactive)
        val awake = now.interactive && !now.idle
        if (awake == this.awake) return
        this.awake = awake
        orElse(::complain) { if (awake) session?.wake() else session?.sleep() }
    }

    private inline fun joining(change: Joining.() -> Joining) = published.update { it.copy(joining = it.joining.change()) }

    private fun complain(problem: Problem) = published.update { it.copy(complaint = problem) }

    private companion object {
        const val TAG = "osier"

        /** Commands that may wait; more than a person or the system gives in the blink of an eye. */
        const val WAITING = 64
    }
}
