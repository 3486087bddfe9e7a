import Foundation
import OsierMobile

/// What all screens show, and what they can do. Nothing is asked that no screen shows: see `refresh`.
@MainActor
public final class AppModel {
    public enum Screen: Sendable { case home, devices, usage, diagnostics, topology, settings, join }

    public private(set) var state = AppState() {
        didSet { if state != oldValue { onChange(state) } }
    }
    public var onChange: (AppState) -> Void = { _ in }

    private let link: any TunnelLink
    private let secrets: any SecretStore
    private let settings: any SettingsStore
    private let clock = ContinuousClock()

    public init(link: any TunnelLink, secrets: any SecretStore, settings: any SettingsStore) {
        self.link = link
        self.secrets = secrets
        self.settings = settings
        state.onDemand = settings.onDemand
        state.last = settings.last
    }

    /// Asks what a screen shows. Called when it appears, and again every second or two as long as it does.
    public func refresh(_ screen: Screen) async {
        state.tunnel = await link.state()
        guard state.tunnel == .on else { return forget() }
        await attempt(.refresh) {
            if case .home(let home) = try await self.ask(.home) { self.take(home) }
            switch screen {
            case .devices:
                if self.running, case .devices(let devices) = try await self.ask(.devices) { self.state.devices = devices }
            case .topology:
                if self.running, case .topology(let topology) = try await self.ask(.topology) { self.state.topology = topology }
            case .usage:
                if self.running, case .usage(let usage) = try await self.ask(.usage(days: 60)) { self.state.usage = usage }
            default: break
            }
        }
    }

    /// The state line at this moment; an answer that has grown old says nothing about now.
    public func line() -> StateLine {
        let age = state.at.map { clock.now - $0 } ?? .zero
        return stateLine(service: state.service, status: state.home?.status, ageMs: age.milliseconds)
    }

    /// Whether the device has joined. What failed is in `state.failures`.
    public func join(invite: String, name: String) async -> Bool {
        state.busy = true
        defer { state.busy = false }
        return await attempt(.join) {
            let pending = PendingJoin(invite: Invite.tidy(invite), name: name.trimmed)
            guard pending.save(self.secrets) else { throw Failure.noKeychain }
            try await self.link.configure([])
            try await self.link.start(toJoin: true)
            do {
                guard case .member = try await self.ask(.join) else { throw Failure.unreadable }
            } catch {
                // A tunnel to nowhere helps nobody.
                await self.link.stop()
                throw error
            }
            try await self.link.configure(self.state.onDemand.rules(switchedOn: true))
        }
    }

    public func leave() async -> Bool {
        await attempt(.leave) {
            // The keys are the extension's, so it must run.
            if await self.link.state() != .on { try await self.link.start(toJoin: false) }
            guard case .service(let service) = try await self.ask(.leave) else { throw Failure.unreadable }
            self.remember(service)
            self.state.home = nil
            try await self.link.configure([])
            await self.link.stop()
        }
    }

    /// The switch. Off is remembered by the system too: it does not start the tunnel again by itself.
    public func switchOn(_ on: Bool) async {
        state.busy = true
        await attempt(.switchOn) {
            try await self.link.configure(self.state.onDemand.rules(switchedOn: on))
            if on {
                try await self.link.start(toJoin: false)
            } else {
                // Neighbours hear of it before the tunnel goes.
                if case .service(let service) = try await self.ask(.switchOn(false)) { self.remember(service) }
                await self.link.stop()
            }
        }
        state.busy = false
        await refresh(.home)
    }

    public func choose(_ onDemand: OnDemand) async {
        state.onDemand = onDemand
        settings.onDemand = onDemand
        await attempt(.choose) { try await self.link.configure(onDemand.rules(switchedOn: self.state.service.on)) }
    }

    /// One ping more of a device that a screen shows.
    public func ping(_ device: Device) async {
        await attempt(.ping) {
            guard case .ping(let reply) = try await self.ask(.ping(target: device.address, limitMs: 2000)) else {
                throw Failure.unreadable
            }
            self.state.pings[device.address, default: Pings()].take(reply)
        }
    }

    public func check() async {
        state.busy = true
        defer { state.busy = false }
        await attempt(.check) {
            guard case .checks(let checks) = try await self.ask(.checks) else { throw Failure.unreadable }
            self.state.checks = checks
        }
    }

    /// One text for whoever helps; `nil` when it could not be had.
    public func supportBundle() async -> String? {
        var bundle: String?
        await attempt(.bundle) {
            guard case .supportBundle(let text) = try await self.ask(.supportBundle) else { throw Failure.unreadable }
            bundle = text
        }
        return bundle
    }

    public func forgetPings() { state.pings = [:] }

    /// Of a tunnel that is off nothing is known.
    private func forget() {
        state.home = nil
        state.devices = []
        state.topology = nil
        state.usage = nil
        state.checks = nil
    }

    private var running: Bool { state.home?.status != nil }

    private func take(_ home: Home) {
        state.home = home
        state.at = clock.now
        remember(home.service)
    }

    /// While the tunnel is off, the app shows what it last heard.
    private func remember(_ service: ServiceView) {
        state.last = service
        settings.last = service
    }

    private func ask(_ request: Request) async throws -> Reply {
        guard let answer = try await link.send(Wire.encode(request)) else { throw Failure.silent }
        let reply = try Wire.decode(Reply.self, answer)
        if case .failed(let failure) = reply { throw failure }
        return reply
    }

    @discardableResult
    private func attempt(_ action: Action, _ work: () async throws -> Void) async -> Bool {
        do {
            try await work()
            state.failures[action] = nil
            return true
        } catch let failure as Failure {
            state.failures[action] = failure
        } catch {
            state.failures[action] = Failure(kind: .tunnel, code: "tunnel", text: error.localizedDescription, fix: "")
        }
        return false
    }
}

extension Duration {
    var milliseconds: UInt64 {
        let (seconds, attoseconds) = components
        return UInt64(max(0, seconds)) * 1000 + UInt64(max(0, attoseconds / 1_000_000_000_000_000))
    }
}
