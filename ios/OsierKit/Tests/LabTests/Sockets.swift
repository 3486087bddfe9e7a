import Foundation
import Glibc

/// A socket of this process that has an address, as the kernel lists it.
struct Listed: Hashable {
    let protocolName: String
    let inode: String
    let local: [UInt8]
    let remote: [UInt8]

    /// All of this process, whoever opened them.
    static func all() -> [Listed] {
        // In this order: what the first look finds was opened before.
        let tables = ["udp", "udp6", "tcp", "tcp6"].flatMap { name -> [Listed] in
            let lines = (try? String(contentsOfFile: "/proc/self/net/\(name)", encoding: .utf8))?.split(separator: "\n") ?? []
            return lines.dropFirst().map { line in
                let columns = line.split(separator: " ")
                return Listed(
                    protocolName: name, inode: String(columns[9]), local: octets(columns[1]), remote: octets(columns[2]))
            }
        }
        let descriptors = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd")) ?? []
        let ours = Set(descriptors.compactMap { inode("/proc/self/fd/\($0)") })
        return tables.filter { ours.contains($0.inode) }
    }

    static func inode(_ path: String) -> String? {
        guard let link = try? FileManager.default.destinationOfSymbolicLink(atPath: path), link.hasPrefix("socket:[") else {
            return nil
        }
        return String(link.dropFirst("socket:[".count).dropLast())
    }

    /// The kernel prints words of 32 bits in the machine's order.
    private static func octets(_ text: Substring) -> [UInt8] {
        let digits = Array(text.prefix { $0 != ":" })
        return stride(from: 0, to: digits.count, by: 8).flatMap { start -> [UInt8] in
            let word = UInt32(String(digits[start..<start + 8]), radix: 16)!
            return withUnsafeBytes(of: word) { Array($0) }
        }
    }
}

/// Looks at this process's sockets all the time, and remembers each that it has seen.
final class Watch: @unchecked Sendable {
    private let lock = NSLock()
    private var seen: Set<Listed> = []
    private var open = true
    private let ended = DispatchSemaphore(value: 0)

    init() {
        Thread.detachNewThread { [self] in
            while lock.withLock({ open }) {
                let listed = Listed.all()
                lock.withLock { seen.formUnion(listed) }
                usleep(2_000)
            }
            ended.signal()
        }
    }

    /// All but those of Foundation, which talks to itself.
    func outside() -> Set<Listed> {
        lock.withLock { seen.filter { $0.local != [127, 0, 0, 1] || $0.remote != $0.local } }
    }

    func close() {
        lock.withLock { open = false }
        ended.wait()
    }
}
