package org.osier.mobile

import java.io.File
import java.io.IOException
import java.util.concurrent.TimeUnit
import kotlin.concurrent.thread

/** The machines of the lab (see in-lab); the tests themselves run on the phone. */
enum class Machine(val address: String) {
    HUB("10.77.0.2"),
    FAR("10.77.0.3");

    fun command(vararg command: String): List<String> =
        listOf("nsenter", "--net=/run/netns/${name.lowercase()}") + command
}

/** A program with what it has said. */
class Running(private val command: List<String>) : AutoCloseable {
    private val process: Process = ProcessBuilder(command).redirectErrorStream(true).start()
    private val lines = mutableListOf<String>()
    private val reader = thread(isDaemon = true) {
        try {
            process.inputStream.bufferedReader().forEachLine { synchronized(lines) { lines += it } }
        } catch (_: IOException) {
            // It was ended, and its output with it.
        }
    }

    val output: String get() = synchronized(lines) { lines.joinToString("\n") }

    fun line(pattern: Regex): String {
        until("${command.joinToString(" ")} says $pattern") {
            check(process.isAlive || synchronized(lines) { lines.any(pattern::containsMatchIn) }) { output }
            synchronized(lines) { lines.any(pattern::containsMatchIn) }
        }
        return synchronized(lines) { lines.first(pattern::containsMatchIn) }
    }

    override fun close() {
        process.destroy()
        if (!process.waitFor(15, TimeUnit.SECONDS)) process.destroyForcibly().waitFor()
        reader.join()
    }
}

/** What a command says; it must succeed. */
fun run(command: List<String>, input: String = ""): String {
    val (status, said) = attempt(command, input)
    check(status == 0) { "${command.joinToString(" ")}: $status\n$said" }
    return said
}

fun attempt(command: List<String>, input: String = ""): Pair<Int, String> {
    val errors = File.createTempFile("osier", ".err")
    try {
        val process = ProcessBuilder(command).redirectError(errors).start()
        process.outputStream.use { it.write(input.toByteArray()) }
        val said = process.inputStream.bufferedReader().readText()
        return process.waitFor() to said + errors.readText()
    } finally {
        errors.delete()
    }
}

/** Looks until it is so; half a minute at most. */
fun until(what: String, condition: () -> Boolean) {
    val deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(30)
    while (!condition()) {
        check(System.nanoTime() < deadline) { "$what: it takes too long" }
        Thread.sleep(20)
    }
}
