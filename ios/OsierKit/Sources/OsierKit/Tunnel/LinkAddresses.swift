import Foundation

#if canImport(Glibc)
import Glibc
#endif

/// This device's addresses, of those of its interfaces that lead outside.
public enum LinkAddresses {
    /// `wanted` are the interfaces of the path that the system prefers, such as `en0`. Without any there is no network.
    public static func of(_ wanted: [String]) -> [String] {
        var first: UnsafeMutablePointer<ifaddrs>?
        guard getifaddrs(&first) == 0 else { return [] }
        defer { freeifaddrs(first) }
        var found: [String] = []
        var next = first
        while let entry = next?.pointee {
            next = entry.ifa_next
            guard let address = entry.ifa_addr, wanted.contains(String(cString: entry.ifa_name)) else { continue }
            if let text = text(of: address), !found.contains(text) { found.append(text) }
        }
        return found
    }

    private static func text(of address: UnsafeMutablePointer<sockaddr>) -> String? {
        let size: Int
        switch Int32(address.pointee.sa_family) {
        case AF_INET: size = MemoryLayout<sockaddr_in>.size
        case AF_INET6: size = MemoryLayout<sockaddr_in6>.size
        default: return nil
        }
        var host = [CChar](repeating: 0, count: Int(NI_MAXHOST))
        let status = getnameinfo(address, socklen_t(size), &host, socklen_t(host.count), nil, 0, NI_NUMERICHOST)
        return status == 0 ? String(cString: host) : nil
    }
}
