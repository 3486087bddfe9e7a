package org.osier.android

import android.os.Looper
import java.time.Duration
import kotlinx.coroutines.channels.Channel
import org.osier.android.node.Core
import org.osier.mobile.Check
import org.osier.mobile.Device
import org.osier.mobile.Event
import org.osier.mobile.Membership
import org.osier.mobile.NetworkInfo
import org.osier.mobile.PingReply
import org.osier.mobile.Problem
import org.osier.mobile.ServiceState
import org.osier.mobile.ServiceView
import org.osier.mobile.SessionException
import org.osier.mobile.SessionInterface
import org.osier.mobile.StateLine
import org.osier.mobile.Status
import org.osier.mobile.Topology
import org.osier.mobile.TunSettings
import org.osier.mobile.Usage
import org.robolectric.Shadows.shadowOf

/** The app with a session of the test's in the place of the library's; which state line that makes, the library says. */
class TestApp : OsierApp() {
    override fun core(): Core = object : Core {
        override suspend fun open(leaf: Boolean, protect: (Int) -> Boolean): SessionInterface {
            session.opened(leaf, protect)
            return session
        }

        override fun stateLine(service: ServiceView, status: Status?, ageMs: ULong): StateLine =
            org.osier.mobile.stateLine(service, status, ageMs)
    }

    companion object {
        /** The next app's, and what it was opened with. */
        lateinit var session: FakeSession
    }
}

/** A session that does what the test says, and remembers what was asked of it. */
open class FakeSession(var service: ServiceView = notJoined) : SessionInterface {
    val calls = mutableListOf<String>()
    var status: Status? = null
    var devices: List<Device> = emptyList()
    var topology = Topology(emptyList(), emptyList())
    var usage = Usage("2026-11-28", emptyList())
    var checks: List<Check> = emptyList()
    var joins: () -> Membership = { member }
    var ping: PingReply? = null
    var protect: (Int) -> Boolean = { error("not opened") }
    var leaf: Boolean? = null

    /** Descriptors that it was given and that it has to close. */
    val devicesGiven = mutableListOf<Int>()
    private var events = Channel<Event>(64)

    fun opened(leaf: Boolean, protect: (Int) -> Boolean) {
        this.leaf = leaf
        this.protect = protect
        events = Channel(64)
        calls += "open"
        events.trySend(Event.ServiceChanged(service))
    }

    fun becomes(new: ServiceView) {
        service = new
        if (new.state == ServiceState.RUNNING && status == null) status = connected
        events.trySend(Event.ServiceChanged(new))
    }

    fun tell(event: Event) {
        events.trySend(event)
    }

    override suspend fun nextEvent(): Event? = events.receiveCatching().getOrNull()

    /** How often somebody wanted to know something. */
    var asked = 0

    override suspend fun service(): ServiceView = service.also { asked++ }

    override suspend fun status(): Status = status ?: throw SessionException.NotRunning(problem("off"))

    override suspend fun devices(): List<Device> = devices

    override suspend fun topology(): Topology = topology

    override suspend fun usage(days: UInt): Usage = usage

    override suspend fun checks(): List<Check> = checks

    override suspend fun supportBundle(): String = "a bundle"

    override suspend fun ping(target: String, limitMs: UInt): PingReply? = ping.also { calls += "ping $target" }

    override suspend fun join(invite: String, name: String?): Membership {
        calls += "join $invite $name"
        val member = joins()
        becomes(ServiceView(ServiceState.RUNNING, true, member, null))
        return member
    }

    override suspend fun leave(): ServiceView {
        calls += "leave"
        becomes(notJoined)
        return service
    }

    var beforeSwitch: suspend () -> Unit = {}

    override suspend fun switchOn(on: Boolean): ServiceView {
        beforeSwitch()
        calls += "switch $on"
        becomes(service.copy(state = if (on) ServiceState.RUNNING else ServiceState.OFF, on = on))
        return service
    }

    override suspend fun tunSettings(): TunSettings? = service.member?.let { tun }

    override fun setTun(fd: Int, mtu: UShort) {
        calls += "setTun $mtu"
        devicesGiven += fd
    }

    override fun clearTun() {
        calls += "clearTun"
    }

    override fun networkChanged(network: NetworkInfo) {
        calls += "network ${network.addresses}"
    }

    override suspend fun sleep() {
        calls += "sleep"
    }

    override suspend fun wake() {
        calls += "wake"
    }

    override suspend fun stop() {
        calls += "stop"
        events.close()
    }

    companion object {
        val notJoined = ServiceView(ServiceState.NOT_JOINED, false, null, null)
        val tun = TunSettings("fd6f:7369:6572:1::1", 128u, "fd6f:7369:6572::", 48u, 1420u)
        val member = Membership("pixel", tun.address, "home", "fd6f:7369:6572::/48", 1_798_000_000u, 20 * 86_400)
        val running = ServiceView(ServiceState.RUNNING, true, member, null)
        val off = ServiceView(ServiceState.OFF, false, member, null)

        fun problem(code: String) = Problem(code, "something is wrong", "do something about it")
    }
}

/** Lets the main thread work until it is so; the clock goes on as it does so. */
fun until(what: String, holds: () -> Boolean) {
    val looper = shadowOf(Looper.getMainLooper())
    looper.idle()
    repeat(500) {
        if (holds()) return
        looper.idleFor(Duration.ofMillis(20))
    }
    // The main thread's clock is a pretended one and ten seconds of it pass at once: a real thread may need real ones.
    val deadline = System.nanoTime() + 30_000_000_000
    while (!holds() && System.nanoTime() < deadline) {
        Thread.sleep(5)
        looper.idle()
    }
    check(holds()) { "this never came: $what" }
}

fun settle() = shadowOf(Looper.getMainLooper()).idleFor(Duration.ofMillis(1500))

fun idle(seconds: Long) = shadowOf(Looper.getMainLooper()).idleFor(Duration.ofSeconds(seconds))
