package org.osier.mobile

import java.util.concurrent.ConcurrentHashMap
import java.util.concurrent.CopyOnWriteArrayList
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking

/** What the app's VPN service is to the core. */
class App : Platform {
    /** Inodes of the sockets that were protected, and whether the kernel knew an address of them by then. */
    val protected: MutableMap<String, Boolean> = ConcurrentHashMap()
    val lines = CopyOnWriteArrayList<LogLine>()
    @Volatile var refuses = false
    @Volatile var throws = false

    override fun protect(fd: Int): Boolean {
        check(!throws) { "protect() is broken" }
        val inode = checkNotNull(inodeOf(fd)) { "$fd is no socket" }
        if (!refuses) protected[inode] = listed().any { it.inode == inode }
        return !refuses
    }

    override fun log(line: LogLine) {
        lines += line
    }
}

/** The one loop beside the service that takes events. */
class EventLoop(private val session: Session) : AutoCloseable {
    val events = CopyOnWriteArrayList<Event>()
    @Volatile var ended = false
        private set

    private val loop = CoroutineScope(Dispatchers.Default).launch {
        while (true) events += session.nextEvent() ?: break
        ended = true
    }

    /** A session is not gone before whoever waits for its events has given up. */
    override fun close() = runBlocking { loop.cancelAndJoin() }

    fun waitFor(what: String, wanted: (Event) -> Boolean) = until(what) {
        check(!loop.isCancelled) { "the loop has failed" }
        events.any(wanted)
    }
}
