package org.osier.mobile

import java.io.File
import java.net.InetAddress
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.nio.file.Files
import java.nio.file.Path
import kotlin.concurrent.thread

/** A socket of this process that has an address, as the kernel lists it. */
data class Listed(val protocol: String, val inode: String, val local: InetAddress, val remote: InetAddress)

private fun inodeOf(link: Path): String? = runCatching { Files.readSymbolicLink(link).toString() }.getOrNull()
    ?.takeIf { it.startsWith("socket:[") }?.removeSurrounding("socket:[", "]")

fun inodeOf(fd: Int): String? = inodeOf(Path.of("/proc/self/fd/$fd"))

/** All sockets of this process that the kernel has an address of, whoever opened them. */
fun listed(): List<Listed> {
    // In this order: what the first look finds was opened before.
    val tables = listOf("udp", "udp6", "tcp", "tcp6").flatMap { protocol ->
        File("/proc/self/net/$protocol").readLines().drop(1).map { line ->
            val columns = line.trim().split(Regex("\\s+"))
            Listed(protocol, columns[9], address(columns[1]), address(columns[2]))
        }
    }
    val ours = Files.list(Path.of("/proc/self/fd")).use { links -> links.toList().mapNotNull(::inodeOf).toSet() }
    return tables.filter { it.inode in ours }
}

/** The kernel prints words of 32 bits in the machine's order. */
private fun address(text: String): InetAddress {
    val words = text.substringBefore(':').chunked(8).map { it.toLong(16).toInt() }
    val bytes = ByteBuffer.allocate(4 * words.size).order(ByteOrder.nativeOrder())
    words.forEach(bytes::putInt)
    return InetAddress.getByAddress(bytes.array())
}

/** Looks at this process's sockets all the time, and remembers each that it has seen. */
class Watch : AutoCloseable {
    private val seen = mutableSetOf<Listed>()
    @Volatile private var open = true
    private val looking = thread(isDaemon = true) {
        while (open) {
            listed().let { synchronized(seen) { seen += it } }
            Thread.sleep(2)
        }
    }

    fun all(): Set<Listed> = synchronized(seen) { seen.toSet() }

    override fun close() {
        open = false
        looking.join()
    }
}
