package org.osier.android

import android.content.Intent
import android.net.VpnService
import org.osier.android.node.Node
import org.osier.android.service.OsierVpnService
import org.robolectric.Robolectric
import org.robolectric.RuntimeEnvironment
import org.robolectric.Shadows.shadowOf
import org.robolectric.android.controller.ServiceController
import org.robolectric.shadows.ShadowVpnService

/** The phone around the app: what the system does to it. */
class Phone(val session: FakeSession, mayTunnel: Boolean = true) {
    val app: TestApp
    val node: Node get() = app.node
    var service: ServiceController<OsierVpnService>? = null

    init {
        TestApp.session = session
        ShadowTunnel.forget()
        ShadowBuilder.established.clear()
        app = RuntimeEnvironment.getApplication() as TestApp
        ShadowVpnService.setPrepareResult(if (mayTunnel) null else Intent("the system's question"))
    }

    /** As the system starts it: with an intent, or without one after it had ended the process. */
    fun start(intent: Intent?): OsierVpnService {
        val new = Robolectric.buildService(OsierVpnService::class.java, intent).create()
        service = new
        deliver(intent)
        return new.get()
    }

    fun deliver(intent: Intent?, id: Int = 1): Int = checkNotNull(service).get().onStartCommand(intent, 0, id)

    fun alwaysOn() = start(Intent(VpnService.SERVICE_INTERFACE))

    /** What the app has asked the system to start, started. */
    fun startAsked(): OsierVpnService {
        until("the service is asked for") { shadowOf(app).peekNextStartedService() != null }
        return start(shadowOf(app).nextStartedService)
    }

    val askedToStart: Boolean get() = shadowOf(app).peekNextStartedService() != null
    val stopped: Boolean get() = shadowOf(service!!.get()).isStoppedBySelf
    val inForeground: Boolean get() = shadowOf(service!!.get()).let { it.lastForegroundNotification != null && !it.isForegroundStopped }
}
