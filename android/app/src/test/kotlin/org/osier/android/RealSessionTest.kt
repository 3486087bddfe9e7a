package org.osier.android

import android.os.Looper
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Test
import org.junit.runner.RunWith
import org.osier.android.node.Command
import org.osier.android.node.Preferences
import org.osier.mobile.ServiceState
import org.osier.mobile.StateKind
import org.osier.mobile.Verdict
import org.robolectric.RobolectricTestRunner
import org.robolectric.RuntimeEnvironment
import org.robolectric.Shadows.shadowOf
import org.robolectric.annotation.Config
import org.robolectric.shadows.ShadowVpnService

/** The app as it is, with the real session behind it; how that behaves in a mesh, core-tests tell. */
@RunWith(RobolectricTestRunner::class)
@Config(application = OsierApp::class)
class RealSessionTest {
    private val app get() = RuntimeEnvironment.getApplication() as OsierApp

    /** The session has threads of its own, which take real time. */
    private fun soon(what: String, holds: () -> Boolean) {
        val deadline = System.nanoTime() + 20_000_000_000
        while (!holds()) {
            check(System.nanoTime() < deadline) { "this never came: $what, but ${app.node.state.value}" }
            shadowOf(Looper.getMainLooper()).idle()
            Thread.sleep(5)
        }
    }

    @Test
    fun `it opens, refuses, checks, and is opened anew`() {
        ShadowVpnService.setPrepareResult(null)
        val node = app.node
        soon("it is not joined") { node.state.value.line?.kind == StateKind.NOT_JOINED }

        node.send(Command.Join("osier://join/bm9uc2Vuc2U", "pixel"))
        // Until the service is there, it waits.
        soon("the service is asked for") { shadowOf(app).peekNextStartedService() != null }
        shadowOf(Looper.getMainLooper()).idleFor(java.time.Duration.ofSeconds(6))
        soon("it is refused") { node.state.value.joining.refusal?.code == "invite-invalid" }

        node.send(Command.Check)
        soon("it is checked") { node.state.value.checks.list != null }
        val checks = node.state.value.checks.list!!
        assertEquals(Verdict.OK, checks.single { it.name == "state-directory" }.verdict)

        node.send(Command.Prefer(Preferences(carry = true)))
        soon("it is set") { node.state.value.preferences.carry }
        node.send(Command.Prefer(Preferences(carry = false)))
        node.send(Command.Switch(true))
        soon("it answers as before") {
            shadowOf(Looper.getMainLooper()).idleFor(java.time.Duration.ofSeconds(6))
            node.state.value.complaint?.code == "not-joined"
        }
        assertEquals(ServiceState.NOT_JOINED, node.state.value.service?.state)
        assertTrue(node.state.value.service?.problem == null)
    }
}
