package org.osier.mobile

import java.net.InetAddress
import java.net.InetSocketAddress
import java.net.ServerSocket
import java.net.Socket
import java.security.MessageDigest
import kotlin.concurrent.thread
import org.junit.jupiter.api.Test
import kotlinx.coroutines.runBlocking
import org.junit.jupiter.api.AfterEach
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertNotNull
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.assertThrows

/** The phone's session in a real mesh, with a real TUN device. */
class SessionTest {
    private val mesh = Mesh()
    private val app = App()
    private val watch = Watch()
    private val session = Session(SessionConfig(mesh.place("phone"), log = "info"), app)
    private val loop = EventLoop(session)

    @AfterEach
    fun end() {
        loop.close()
        session.destroy()
        watch.close()
        until("all devices are gone") { "tun" !in interfaces() }
        mesh.close()
        // Each test begins where the lab did.
        attempt(listOf("ip", "address", "flush", "dev", "eth0"))
        run(listOf("ip", "address", "add", "$PHONE/24", "dev", "eth0"))
    }

    @Test
    fun `packets pass both ways and every socket was protected first`() = runBlocking {
        val settings = join()
        session.setTun(establish("tun0", settings), settings.mtu)
        for (machine in Machine.entries) {
            pingBothWays(settings, machine)
            tcpBothWays(settings, machine)
        }
        assertEquals(PingOutcome.ECHO, session.ping("far", 5000u)?.outcome)
        until("the status says connected") { runBlocking { session.status() }.connection.state == ConnectionState.CONNECTED }
        assertEquals(listOf("far", "hub"), session.devices().map { it.name }.sorted())
        assertTrue(session.usage(1u).days.single().ownReceivedOctets > 1_000_000uL)
        assertTrue(app.lines.any { it.level == LogLevel.INFO && "joined" in it.text })
        everySocketWasProtected(settings)
    }

    @Test
    fun `another device takes the place of the first`() = runBlocking {
        val settings = join()
        session.setTun(establish("tun0", settings), settings.mtu)
        pingBothWays(settings, Machine.FAR)
        val before = loop.events.count { it is Event.NeighbourDown }
        session.setTun(establish("tun1", settings), settings.mtu)
        until("the first device is closed") { "tun0" !in interfaces() }
        pingBothWays(settings, Machine.FAR)
        assertEquals(before, loop.events.count { it is Event.NeighbourDown })
        // The system takes it away, as when another VPN starts.
        run(listOf("ip", "link", "delete", "tun1"))
        loop.waitFor("the loss is told") { it is Event.DeviceLost }
        session.setTun(establish("tun2", settings), settings.mtu)
        pingBothWays(settings, Machine.FAR)
        everySocketWasProtected(settings)
    }

    @Test
    fun `the network changes, the device sleeps and wakes, and the session stops`() = runBlocking {
        val settings = join()
        session.setTun(establish("tun0", settings), settings.mtu)
        pingBothWays(settings, Machine.HUB)

        run(listOf("ip", "address", "delete", "$PHONE/24", "dev", "eth0"))
        run(listOf("ip", "address", "add", "$ELSEWHERE/24", "dev", "eth0"))
        session.networkChanged(NetworkInfo(listOf(ELSEWHERE)))
        pingBothWays(settings, Machine.HUB)
        until("the hub knows where the phone is") { "$ELSEWHERE:" in mesh.peers(Machine.HUB) }

        until("the registry is asked for news") { registryConnections() > 0 }
        session.sleep()
        until("the registry is left alone") { registryConnections() == 0 }
        pingBothWays(settings, Machine.HUB)
        session.wake()
        until("the registry is asked again") { registryConnections() > 0 }
        pingBothWays(settings, Machine.HUB)
        everySocketWasProtected(settings)

        session.stop()
        until("the events end") { loop.ended }
        assertTrue("tun0" !in interfaces())
        assertEquals(emptyList<Listed>(), listed().filter { it.inode in app.protected })
        val error = assertThrows<SessionException.NotRunning> { runBlocking { session.status() } }
        assertEquals("stopping", error.why.code)
    }

    @Test
    fun `a socket that the platform refuses is not used`() = runBlocking {
        for (make in listOf({ app.refuses = true }, { app.throws = true })) {
            make()
            val error = assertThrows<SessionException.NotProtected> { runBlocking { session.join(mesh.invite(), "phone") } }
            assertEquals("socket-not-protected", error.why.code)
            assertTrue(error.why.fix.isNotEmpty())
            app.refuses = false
            app.throws = false
        }
        assertEquals(emptySet<Listed>(), watch.all())
        assertNull(session.tunSettings())
        assertEquals(ServiceState.NOT_JOINED, session.service().state)
        join()
        assertNotNull(session.tunSettings())
        Unit
    }

    private suspend fun join(): TunSettings {
        session.networkChanged(NetworkInfo(listOf(PHONE)))
        val member = session.join(mesh.invite(), "phone")
        loop.waitFor("it runs") { it is Event.ServiceChanged && it.service.state == ServiceState.RUNNING }
        loop.waitFor("a neighbour is up") { it is Event.NeighbourUp }
        val settings = session.tunSettings()!!
        assertEquals(member.address, settings.address)
        return settings
    }

    /** Beside the session's own, there are the tests' sockets inside the mesh. */
    private fun everySocketWasProtected(settings: TunSettings) {
        val inside = InetAddress.getByName(settings.address)
        val outside = watch.all().filter { it.local != inside }
        assertTrue(outside.any { it.protocol.startsWith("udp") }, "no UDP socket was seen")
        val registry = InetAddress.getByName(Machine.HUB.address)
        assertTrue(outside.any { it.protocol.startsWith("tcp") && it.remote == registry }, "no connection to the registry was seen")
        assertEquals(emptyList<Listed>(), outside.filter { it.inode !in app.protected }, "not protected")
        // Before anything could be sent: not even an address was chosen.
        assertEquals(emptySet<String>(), app.protected.filterValues { it }.keys, "protected too late")
    }

    private fun registryConnections(): Int {
        val registry = InetAddress.getByName(Machine.HUB.address)
        return listed().count { it.protocol.startsWith("tcp") && it.remote == registry }
    }

    private fun pingBothWays(settings: TunSettings, machine: Machine) {
        val there = mesh.address(machine)
        val ping = listOf("ping", "-6", "-n", "-c", "1", "-W", "1")
        until("$machine answers pings") { attempt(ping + there).first == 0 }
        until("pings of $machine are answered") { attempt(machine.command(*ping.toTypedArray(), settings.address)).first == 0 }
        // Once there is a way, none gets lost.
        val three = listOf("ping", "-6", "-n", "-c", "3", "-i", "0.2", "-W", "2")
        assertTrue(", 0% packet loss" in run(three + there))
        assertTrue(", 0% packet loss" in run(machine.command(*three.toTypedArray(), settings.address)))
    }

    /** A megabyte out and back, over a connection that was opened here, and over one that was opened there. */
    private fun tcpBothWays(settings: TunSettings, machine: Machine) {
        val there = InetAddress.getByName(mesh.address(machine))
        val here = InetAddress.getByName(settings.address)
        Running(machine.command("python3", "-c", ECHO, there.hostAddress)).use { server ->
            val port = server.line(Regex("^\\d+$")).toInt()
            Socket().use { socket ->
                socket.bind(InetSocketAddress(here, 0))
                socket.connect(InetSocketAddress(there, port), 10_000)
                socket.soTimeout = 20_000
                val sent = ByteArray(MEGABYTE) { (it * 31).toByte() }
                val sending = thread { socket.getOutputStream().write(sent).also { socket.shutdownOutput() } }
                val received = socket.getInputStream().readAllBytes()
                sending.join()
                assertTrue(sent.contentEquals(received), "other octets came back")
            }
        }
        ServerSocket(0, 1, here).use { server ->
            server.soTimeout = 20_000
            val arguments = arrayOf("python3", "-c", SEND, here.hostAddress, "${server.localPort}")
            Running(machine.command(*arguments)).use { client ->
                val received = server.accept().use { socket ->
                    socket.soTimeout = 20_000
                    socket.getInputStream().readAllBytes()
                }
                assertEquals(MEGABYTE, received.size)
                val digest = MessageDigest.getInstance("SHA-256").digest(received).joinToString("") { "%02x".format(it) }
                assertEquals(digest, client.line(Regex("^[0-9a-f]{64}$")))
            }
        }
    }

    private fun interfaces(): String = run(listOf("ip", "-o", "link"))

    private companion object {
        const val PHONE = "10.77.0.1"
        const val ELSEWHERE = "10.77.0.91"
        const val MEGABYTE = 1 shl 20

        /** Sends back what comes over one connection. */
        val ECHO = """
            import socket, sys
            server = socket.create_server((sys.argv[1], 0), family=socket.AF_INET6)
            print(server.getsockname()[1], flush=True)
            connection = server.accept()[0]
            while data := connection.recv(65536):
                connection.sendall(data)
            connection.close()
        """.trimIndent()

        /** Sends a megabyte and says its digest. */
        val SEND = """
            import hashlib, os, socket, sys
            data = os.urandom(1 << 20)
            with socket.create_connection((sys.argv[1], int(sys.argv[2])), 10) as connection:
                connection.sendall(data)
            print(hashlib.sha256(data).hexdigest(), flush=True)
        """.trimIndent()
    }
}
