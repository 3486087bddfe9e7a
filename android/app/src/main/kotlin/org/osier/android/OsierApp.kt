package org.osier.android

import android.app.Application
import android.content.Context
import android.content.Intent
import android.net.VpnService
import android.os.SystemClock
import android.util.Log
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.SupervisorJob
import kotlinx.coroutines.android.asCoroutineDispatcher
import kotlinx.coroutines.withContext
import org.osier.android.node.Core
import org.osier.android.node.Host
import org.osier.android.node.Node
import org.osier.android.node.PreferenceStore
import org.osier.android.service.OsierVpnService
import org.osier.mobile.LogLevel
import org.osier.mobile.LogLine
import org.osier.mobile.Platform
import org.osier.mobile.ServiceView
import org.osier.mobile.Session
import org.osier.mobile.SessionConfig
import org.osier.mobile.SessionInterface
import org.osier.mobile.StateLine
import org.osier.mobile.Status

/** The process: it has one [Node], started with whatever part of the app comes first. */
open class OsierApp : Application() {
    val node: Node by lazy {
        val scope = CoroutineScope(SupervisorJob() + android.os.Handler(mainLooper).asCoroutineDispatcher("node"))
        Node(core(), SystemHost(this), PreferenceStore(this), scope).also(Node::start)
    }

    protected open fun core(): Core = RealCore(this)
}

val Context.node: Node get() = (applicationContext as OsierApp).node

private class RealCore(private val context: Context) : Core {
    override suspend fun open(leaf: Boolean, protect: (Int) -> Boolean): SessionInterface = withContext(Dispatchers.IO) {
        // Readable before the device is unlocked, and kept out of backups: it holds the keys.
        val state = context.createDeviceProtectedStorageContext().noBackupFilesDir
        val platform = object : Platform {
            override fun protect(fd: Int): Boolean = protect(fd)

            override fun log(line: LogLine) {
                Log.println(line.level.priority, "osier", line.text)
            }
        }
        Session(SessionConfig(stateDir = state.path, leaf = leaf), platform)
    }

    override fun stateLine(service: ServiceView, status: Status?, ageMs: ULong): StateLine =
        org.osier.mobile.stateLine(service, status, ageMs)

    private val LogLevel.priority: Int
        get() = when (this) {
            LogLevel.ERROR -> Log.ERROR
            LogLevel.WARNING -> Log.WARN
            LogLevel.INFO -> Log.INFO
            LogLevel.DEBUG -> Log.DEBUG
            LogLevel.TRACE -> Log.VERBOSE
        }
}

private class SystemHost(private val context: Context) : Host {
    override fun mayTunnel(): Boolean = VpnService.prepare(context) == null

    override fun startService() {
        try {
            context.startForegroundService(Intent(context, OsierVpnService::class.java).setAction(OsierVpnService.FROM_APP))
        } catch (error: IllegalStateException) {
            // Nobody uses the app, and the system starts nothing from the background then. A tap will.
            Log.w("osier", "the service cannot be started now", error)
        }
    }

    override fun now(): Long = SystemClock.elapsedRealtime()
}
