package org.osier.android.service

import android.app.ForegroundServiceStartNotAllowedException
import android.content.Intent
import android.content.pm.ServiceInfo
import android.net.VpnService
import android.util.Log
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.android.asCoroutineDispatcher
import kotlinx.coroutines.cancel
import kotlinx.coroutines.flow.map
import kotlinx.coroutines.flow.distinctUntilChanged
import kotlinx.coroutines.launch
import org.osier.android.R
import org.osier.android.node
import org.osier.android.node.Command
import org.osier.android.node.Preferences
import org.osier.android.node.Tunnel
import org.osier.mobile.TunSettings

/**
 * The system's side of the tunnel: it keeps the process in the foreground, sets the device up, and tells the node of
 * networks and sleep. What to do is decided there.
 */
class OsierVpnService : VpnService(), Tunnel {
    private val scope by lazy { CoroutineScope(android.os.Handler(mainLooper).asCoroutineDispatcher("vpn")) }
    private val notices by lazy { Notices(this) }
    private val networks by lazy { Networks(this, ::setUnderlyingNetworks) { node.send(Command.NetworkChanged(it)) } }
    private val power by lazy { Power(this) { interactive, idle -> node.send(Command.Power(interactive, idle)) } }
    private var started = false
    private var lastStart = 0

    override fun onStartCommand(intent: Intent?, flags: Int, startId: Int): Int {
        lastStart = startId
        if (!enterForeground()) return START_NOT_STICKY
        if (!started) begin()
        node.attach(this)
        when (intent?.action) {
            // Always-on: the user has told the system to keep it running.
            SERVICE_INTERFACE -> node.send(Command.Switch(true))
            SWITCH_ON -> node.send(Command.Switch(true))
            SWITCH_OFF -> node.send(Command.Switch(false))
            // From the app, which says itself what for; at boot; or after the system had ended the process (without an intent).
            else -> node.send(Command.Resume)
        }
        return START_STICKY
    }

    private fun begin() {
        started = true
        networks.start()
        power.start()
        scope.launch {
            node.state.map(notices::texts).distinctUntilChanged().collect(notices::show)
        }
    }

    /** Whether the system lets us: not without the VPN permission. */
    private fun enterForeground(): Boolean {
        val notice = notices.notification(notices.texts(node.state.value))
        return try {
            startForeground(Notices.STATE, notice, ServiceInfo.FOREGROUND_SERVICE_TYPE_SYSTEM_EXEMPTED)
            true
        } catch (error: SecurityException) {
            refused(error)
        } catch (error: ForegroundServiceStartNotAllowedException) {
            refused(error)
        }
    }

    private fun refused(error: Exception): Boolean {
        Log.w("osier", "the system does not let the service run", error)
        node.send(Command.Permission(granted = prepare(this) == null))
        stopSelf()
        return false
    }

    override fun protectSocket(fd: Int): Boolean = protect(fd)

    override fun establish(settings: TunSettings, preferences: Preferences): Int? {
        val builder = Builder().setSession(getString(R.string.app_name)).configure(settings, preferences, packageName)
        return try {
            builder.establish()?.detachFd()
        } catch (error: SecurityException) {
            refusedDevice(error)
        } catch (error: IllegalStateException) {
            refusedDevice(error)
        }
    }

    private fun refusedDevice(error: Exception): Int? {
        Log.w("osier", "the system gives no device", error)
        return null
    }

    override fun release() {
        stopForeground(STOP_FOREGROUND_REMOVE)
        // Not if it is being started again already.
        stopSelf(lastStart)
    }

    /** Another VPN has taken over, or the user has taken the permission away. The system has closed the device. */
    override fun onRevoke() {
        node.send(Command.Revoked)
    }

    override fun onDestroy() {
        if (started) {
            networks.stop()
            power.stop()
            node.send(Command.Gone(this))
        }
        scope.cancel()
        super.onDestroy()
    }

    companion object {
        const val FROM_APP = "org.osier.android.FROM_APP"
        const val SWITCH_ON = "org.osier.android.SWITCH_ON"
        const val SWITCH_OFF = "org.osier.android.SWITCH_OFF"
        const val RESUME = "org.osier.android.RESUME"
    }
}
