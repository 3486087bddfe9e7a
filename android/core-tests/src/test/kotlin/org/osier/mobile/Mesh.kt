package org.osier.mobile

import java.io.File
import java.nio.file.Files

/** A real network: the registry and a node on the hub, and another node far away. */
class Mesh : AutoCloseable {
    val folder: File = Files.createTempDirectory("osier-mobile").toFile()
    private val started = mutableListOf<Running>()
    private val url: String

    init {
        osier("network", "create", place("network"), "--name", "home")
        val listen = "${Machine.HUB.address}:0"
        val registry = start(Machine.HUB, "registry", "serve", "--json", "--dir", place("network"), "--listen", listen)
        val ready = registry.line(Regex("""^\{.*"ready""""))
        url = "http://" + Regex(""""address": ?"([^"]*)"""").find(ready)!!.groupValues[1]
        for (machine in Machine.entries) node(machine)
    }

    fun invite(): String {
        val said = osier("invite", "--dir", place("network"), "--url", url, "--json")
        return Regex(""""invite": ?"([^"]*)"""").find(said)!!.groupValues[1]
    }

    /** The address in the mesh. */
    fun address(machine: Machine): String =
        Regex(""""address": ?"([^"]*)"""").find(status(machine).second)!!.groupValues[1]

    fun peers(machine: Machine): String = run(on(machine, "peers", "--json"))

    fun place(name: String): String = File(folder, name).path

    override fun close() {
        started.asReversed().forEach(Running::close)
        folder.deleteRecursively()
    }

    private fun node(machine: Machine) {
        val state = listOf("--state-dir", place(machine.name))
        val join = listOf(osier, "join", "-", "--name", machine.name.lowercase()) + state
        run(machine.command(*join.toTypedArray()), invite())
        start(machine, "up", "--no-upnp", *state.toTypedArray())
        until("$machine to answer") { status(machine).first == 0 }
    }

    private fun status(machine: Machine) = attempt(on(machine, "status", "--json"))

    private fun on(machine: Machine, vararg command: String): List<String> =
        listOf(osier, *command, "--state-dir", place(machine.name))

    private fun start(machine: Machine, vararg command: String): Running =
        Running(machine.command(osier, *command)).also(started::add)

    private fun osier(vararg command: String): String = run(listOf(osier, *command))

    private companion object {
        val osier: String = System.getProperty("osier")
    }
}
