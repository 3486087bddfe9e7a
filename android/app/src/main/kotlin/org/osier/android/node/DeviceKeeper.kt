package org.osier.android.node

import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.delay
import kotlinx.coroutines.flow.MutableStateFlow
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.flow.update
import kotlinx.coroutines.launch
import kotlinx.coroutines.withTimeoutOrNull
import org.osier.mobile.ServiceState
import org.osier.mobile.SessionException
import org.osier.mobile.SessionInterface
import org.osier.mobile.TunSettings

/** Keeps the session's TUN device as it has to be: there while the node runs, with the settings of now. */
internal class DeviceKeeper(
    private val published: MutableStateFlow<UiState>,
    private val host: Host,
    private val scope: CoroutineScope,
    private val current: () -> SessionInterface?,
) {
    private val attached = MutableStateFlow<Tunnel?>(null)

    /** Read from any thread by what protects sockets. */
    var tunnel: Tunnel?
        get() = attached.value
        set(new) {
            attached.value = new
        }

    /** What the device in use was set up with. */
    private var inUse: TunSettings? = null

    /** When it was. */
    private var since = 0L

    /** Sockets cannot be protected before the service is there; without it, the session says what is wrong. */
    suspend fun waitForTunnel() {
        withTimeoutOrNull(SERVICE_STARTS_MS) { attached.first { it != null } }
    }

    suspend fun settle() {
        val session = current() ?: return
        when (published.value.service?.state) {
            ServiceState.RUNNING, ServiceState.STARTING -> setUp(session)
            // Planned stops need it until their end.
            ServiceState.STOPPING, ServiceState.JOINING, null -> Unit
            ServiceState.OFF, ServiceState.NOT_JOINED, ServiceState.FAILED -> if (inUse != null) {
                inUse = null
                session.clearTun()
            }
        }
    }

    private suspend fun setUp(session: SessionInterface) {
        val tunnel = tunnel ?: return
        val settings = orElse({}) { session.tunSettings() } ?: return
        if (settings == inUse) return
        val fd = tunnel.establish(settings, published.value.preferences)
        if (fd == null) {
            published.update { it.copy(issue = Issue.NO_PERMISSION) }
            return
        }
        try {
            session.setTun(fd, settings.mtu)
            inUse = settings
            since = host.now()
        } catch (error: SessionException.Device) {
            published.update { it.copy(complaint = error.why) }
        }
    }

    /** The user has changed what it is set up with: another takes the place of this one, and no packet is lost. */
    suspend fun renew() {
        if (inUse == null) return
        inUse = null
        settle()
    }

    /**
     * The system has closed it. Without the permission the next one is refused, and the user is told. One that was lost
     * at once is not followed by the next at once.
     */
    suspend fun lost() {
        if (inUse == null) return
        inUse = null
        if (host.now() - since >= YOUNG_MS) return settle()
        scope.launch {
            delay(YOUNG_MS)
            settle()
        }
    }

    /** It is closed already, or will be by whoever closes it. */
    fun forget() {
        inUse = null
    }

    /** The service has nothing left to do; who needs it again starts it anew. */
    fun release() {
        tunnel?.release()
        tunnel = null
    }

    fun gone(tunnel: Tunnel) {
        // The next one may be there already.
        if (this.tunnel !== tunnel) return
        this.tunnel = null
        if (inUse == null) return
        inUse = null
        current()?.clearTun()
    }

    private companion object {
        const val YOUNG_MS = 5_000L
        const val SERVICE_STARTS_MS = 5_000L
    }
}
