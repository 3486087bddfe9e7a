import Foundation

#if canImport(Glibc)
import Glibc
#endif

/// An IPv6 address.
struct IPv6: Equatable {
    let octets: [UInt8]

    init?(_ text: String) {
        var address = in6_addr()
        guard inet_pton(AF_INET6, text, &address) == 1 else { return nil }
        octets = withUnsafeBytes(of: &address) { Array($0) }
    }

    /// Whether the first `length` bits are those of `prefix`.
    func isIn(_ prefix: IPv6, length: UInt8) -> Bool {
        let whole = Int(length / 8), rest = length % 8
        guard octets[..<whole] == prefix.octets[..<whole] else { return false }
        if rest == 0 { return true }
        let mask = UInt8(truncatingIfNeeded: 0xff00 >> UInt16(rest))
        return octets[whole] & mask == prefix.octets[whole] & mask
    }
}
