import Foundation
import OsierKit
import OsierMobile

/// The core's calls upwards, of which a packet tunnel answers the first with yes always. Here each socket is remembered.
final class LabPlatform: Platform, @unchecked Sendable {
    private let lock = NSLock()
    private var inodes: [String: Bool] = [:]
    private var logged: [LogLine] = []
    private var refusing = false

    /// Inodes of the sockets that were protected, and whether the kernel knew an address of them by then.
    var protected: [String: Bool] { lock.withLock { inodes } }
    var lines: [LogLine] { lock.withLock { logged } }
    var refuses: Bool {
        get { lock.withLock { refusing } }
        set { lock.withLock { refusing = newValue } }
    }

    func protect(fd: Int32) throws -> Bool {
        guard let inode = Listed.inode("/proc/self/fd/\(fd)") else { throw LabError(description: "\(fd) is no socket") }
        let addressed = Listed.all().contains { $0.inode == inode }
        return lock.withLock {
            if !refusing { inodes[inode] = addressed }
            return !refusing
        }
    }

    func log(line: LogLine) throws { lock.withLock { logged.append(line) } }
}

/// The keychain.
final class MemorySecrets: SecretStore, @unchecked Sendable {
    private let lock = NSLock()
    private var secrets: [String: Data] = [:]

    func read(_ key: String) -> Data? { lock.withLock { secrets[key] } }

    func write(_ key: String, _ secret: Data) -> Bool {
        lock.withLock { secrets[key] = secret }
        return true
    }

    func delete(_ key: String) { lock.withLock { secrets[key] = nil } }
}

final class MemorySettings: SettingsStore {
    var onDemand = OnDemand()
    var last: ServiceView?
}

/// The system between app and extension: it starts the extension, carries messages, and stops it.
actor LabLink: TunnelLink {
    private let make: @Sendable () throws -> TunnelEngine
    private(set) var engine: TunnelEngine?
    private(set) var rules: [OnDemandRule]?
    private let path: NetworkPath

    init(path: NetworkPath, make: @escaping @Sendable () throws -> TunnelEngine) {
        self.path = path
        self.make = make
    }

    func state() -> TunnelState { engine != nil ? .on : rules == nil ? .absent : .off }

    func configure(_ rules: [OnDemandRule]) { self.rules = rules }

    func start(toJoin: Bool) async throws {
        if engine != nil { return }
        let engine = try make()
        await engine.networkChanged(path)
        do {
            try await engine.start(toJoin: toJoin)
        } catch {
            await engine.stop()
            throw error
        }
        self.engine = engine
    }

    func stop() async {
        await engine?.stop()
        engine = nil
    }

    func send(_ message: Data) async throws -> Data? { await engine?.answer(message) }
}
