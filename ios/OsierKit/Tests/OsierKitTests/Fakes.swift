import Foundation
import OsierMobile

@testable import OsierKit

/// A session that does as the test says, and writes down what it was asked.
final class FakeSession: SessionProtocol, @unchecked Sendable {
    private let lock = NSLock()
    private var asked: [String] = []
    private var now: ServiceView
    private var tun: TunSettings? = .example
    private var error: SessionError?
    private let events = AsyncStream<Event>.makeStream()
    private lazy var taken = events.stream.makeAsyncIterator()

    init(_ service: ServiceView) {
        now = service
    }

    var calls: [String] { lock.withLock { asked } }
    var settings: TunSettings? {
        get { lock.withLock { tun } }
        set { lock.withLock { tun = newValue } }
    }
    /// What is asked next fails.
    var failure: SessionError? {
        get { lock.withLock { error } }
        set { lock.withLock { error = newValue } }
    }

    func happens(_ event: Event) { events.continuation.yield(event) }

    private func note(_ call: String) throws {
        try lock.withLock {
            asked.append(call)
            if let error {
                self.error = nil
                throw error
            }
        }
    }

    func nextEvent() async throws -> Event? { await taken.next() }
    func service() async throws -> ServiceView { lock.withLock { now } }
    func switchOn(on: Bool) async throws -> ServiceView {
        try note("switch \(on)")
        return lock.withLock {
            now = .example(on ? .running : .off)
            return now
        }
    }
    func join(invite: String, name: String?) async throws -> Membership {
        try note("join \(invite) \(name ?? "-")")
        return lock.withLock {
            now = .example(.running)
            return now.member!
        }
    }
    func leave() async throws -> ServiceView {
        try note("leave")
        return .example(.notJoined)
    }
    func tunSettings() async throws -> TunSettings? { settings }
    func setTun(fd: Int32, mtu: UInt16) throws { try note("tun \(fd) \(mtu)") }
    func clearTun() { try? note("clear") }
    func networkChanged(network: NetworkInfo) throws {
        try note("network \(network.addresses?.joined(separator: ",") ?? "?")")
    }
    func sleep() async throws { try note("sleep") }
    func wake() async throws { try note("wake") }
    func stop() async throws {
        try note("stop")
        events.continuation.finish()
    }
    func status() async throws -> Status {
        try note("status")
        return .example
    }
    func devices() async throws -> [Device] {
        try note("devices")
        return [.example("paris", .direct)]
    }
    func topology() async throws -> Topology {
        try note("topology")
        return Topology(nodes: [], links: [])
    }
    func checks() async throws -> [Check] {
        try note("checks")
        return [Check(name: "node", verdict: .ok, seen: "it runs", fix: nil)]
    }
    func supportBundle() async throws -> String {
        try note("bundle")
        return "all of it"
    }
    func usage(days: UInt32) async throws -> Usage {
        try note("usage \(days)")
        return Usage(today: "2026-03-01", days: [])
    }
    func ping(target: String, limitMs: UInt32) async throws -> PingReply? {
        try note("ping \(target) \(limitMs)")
        return PingReply(from: target, name: nil, outcome: .echo, rttMs: 5)
    }
}

actor FakeHost: TunnelHost {
    private(set) var plans: [TunnelPlan] = []
    private(set) var cancelled: [String] = []
    var refuses = false

    func refuse() { refuses = true }

    func establish(_ plan: TunnelPlan) throws -> Int32 {
        if refuses { throw Failure.silent }
        plans.append(plan)
        return Int32(100 + plans.count)
    }

    func cancel(_ reason: String) { cancelled.append(reason) }
}

final class FakeSecrets: SecretStore, @unchecked Sendable {
    private let lock = NSLock()
    private var secrets: [String: Data] = [:]
    let locked: Bool

    init(locked: Bool = false) {
        self.locked = locked
    }

    func read(_ key: String) -> Data? { lock.withLock { secrets[key] } }
    func write(_ key: String, _ secret: Data) -> Bool {
        lock.withLock { if !locked { secrets[key] = secret } }
        return !locked
    }
    func delete(_ key: String) { lock.withLock { secrets[key] = nil } }
}

final class FakeSettings: SettingsStore {
    var onDemand = OnDemand()
    var last: ServiceView?
}

/// The system, with an engine of a fake session behind it.
actor FakeLink: TunnelLink {
    let session: FakeSession
    let engine: TunnelEngine
    private(set) var calls: [String] = []
    private(set) var sent: [Request] = []
    private var on = false
    private var deaf = false

    init(_ service: ServiceView, secrets: FakeSecrets) {
        session = FakeSession(service)
        engine = TunnelEngine(session: session, host: FakeHost(), secrets: secrets)
    }

    func becomeDeaf() { deaf = true }
    func state() -> TunnelState { on ? .on : .off }
    func configure(_ rules: [OnDemandRule]) { calls.append("configure \(rules.count)") }
    func start(toJoin: Bool) async throws {
        calls.append(toJoin ? "start to join" : "start")
        if !on { try await engine.start(toJoin: toJoin) }
        on = true
    }
    func stop() {
        calls.append("stop")
        on = false
    }
    func send(_ message: Data) async throws -> Data? {
        sent.append(try Wire.decode(Request.self, message))
        return deaf ? nil : await engine.answer(message)
    }
}

extension ServiceView {
    static func example(_ state: ServiceState) -> ServiceView {
        let member = Membership(
            name: "berlin", address: "fd6f:7369:6572:1::1", network: "home", prefix: "fd6f:7369:6572::/48",
            certificateNotAfterUnix: 1_702_592_000, certificateSecondsLeft: 20 * 86_400)
        let joined = state != .notJoined && state != .joining
        return ServiceView(state: state, on: state != .off, member: joined ? member : nil, problem: nil)
    }
}

extension TunSettings {
    static let example = TunSettings(
        address: "fd6f:7369:6572:1::1", addressLength: 128, route: "fd6f:7369:6572::", routeLength: 48, mtu: 1280)
}

extension Device {
    static func example(_ name: String, _ path: DevicePath, via: String? = nil) -> Device {
        Device(
            name: name, address: "fd6f:7369:6572:2::1", path: path, via: via, rttMs: path == .direct ? 5 : nil, sentOctets: 1,
            receivedOctets: 2)
    }
}

extension Status {
    static let example = Status(
        stopping: false, name: "berlin", address: "fd6f:7369:6572:1::1", network: "home", certificateSecondsLeft: 20 * 86_400,
        uptimeSeconds: 3600, udpPort: 6690, endpoints: [],
        registry: Registry(urls: [], reachable: true, lastError: nil), neighbours: 8, members: 12, sentOctets: 0,
        receivedOctets: 0,
        connection: Connection(
            state: .connected, verifiedSeconds: 12, verifiedWith: "paris", neighbours: 8, wanted: 10, direct: 8, relayed: 3,
            udpText: ""),
        health: [])
}

/// Looks until it is so; ten seconds at most.
func until(_ condition: () async throws -> Bool) async throws {
    struct TooLong: Error {}
    let deadline = Date() + 10
    while try await !condition() {
        guard Date() < deadline else { throw TooLong() }
        try await Task.sleep(nanoseconds: 2_000_000)
    }
}
