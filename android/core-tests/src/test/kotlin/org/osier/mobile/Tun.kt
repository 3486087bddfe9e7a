package org.osier.mobile

import com.sun.jna.Library
import com.sun.jna.Native
import java.nio.ByteBuffer
import java.nio.ByteOrder

private interface C : Library {
    fun open(path: String, flags: Int): Int
    fun ioctl(fd: Int, request: Long, argument: ByteArray): Int
    fun close(fd: Int): Int
}

private val c: C = Native.load("c", C::class.java)

private const val O_RDWR = 2
private const val O_CLOEXEC = 0x80000
private const val TUNSETIFF = 0x400454caL
private const val IFF_TUN = 1
private const val IFF_NO_PI = 0x1000
private const val IFREQ = 40
private const val IFNAMSIZ = 16

/**
 * What `VpnService.Builder.establish()` does: a TUN device without headers before its packets and without offload, with
 * an address and a route. The answer is what `detachFd()` gives: a descriptor that whoever gets it must close.
 */
fun establish(name: String, settings: TunSettings): Int {
    val fd = c.open("/dev/net/tun", O_RDWR or O_CLOEXEC)
    check(fd >= 0) { "cannot open /dev/net/tun: ${Native.getLastError()}" }
    val request = ByteBuffer.allocate(IFREQ).order(ByteOrder.nativeOrder())
    request.put(name.toByteArray())
    request.putShort(IFNAMSIZ, (IFF_TUN or IFF_NO_PI).toShort())
    if (c.ioctl(fd, TUNSETIFF, request.array()) < 0) {
        c.close(fd)
        error("cannot make $name: ${Native.getLastError()}")
    }
    run(listOf("ip", "link", "set", name, "mtu", "${settings.mtu}", "up"))
    run(listOf("ip", "address", "add", "${settings.address}/${settings.addressLength}", "dev", name, "nodad"))
    run(listOf("ip", "route", "replace", "${settings.route}/${settings.routeLength}", "dev", name))
    return fd
}
