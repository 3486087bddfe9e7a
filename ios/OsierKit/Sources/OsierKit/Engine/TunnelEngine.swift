import Foundation
import OsierMobile

/// All that happens beside the tunnel: it owns the session, takes its events in one loop, sets the tunnel up when the
/// node runs, and answers the app. It has no timers of its own, and asks nothing that nobody wants to know.
public actor TunnelEngine {
    private let session: any SessionProtocol
    private let host: any TunnelHost
    private let secrets: any SecretStore
    private let clock = ContinuousClock()

    private var loop: Task<Void, Never>?
    /// What the device was made by; `nil` while there is none.
    private var plan: TunnelPlan?
    private var established: ContinuousClock.Instant?
    private var path: NetworkPath?
    private var health: [Health] = []
    private var happenings = Happenings()

    /// A device that is lost sooner than this is not worth another.
    private let shortest: Duration

    public init(
        session: any SessionProtocol, host: any TunnelHost, secrets: any SecretStore, shortest: Duration = .seconds(5)
    ) {
        self.shortest = shortest
        self.session = session
        self.host = host
        self.secrets = secrets
    }

    /// Begins. `toJoin`: the app is about to ask for it, so there is nothing to set up yet. The system's switch is the
    /// switch: whoever starts the tunnel wants the node.
    public func start(toJoin: Bool) async throws {
        let service = try await session.service()
        if service.member == nil, !toJoin { throw EngineError.notJoined }
        let session = self.session
        loop = Task { [weak self] in
            // One at a time and in order, so that an answer never overtakes what came before it.
            while let event = try? await session.nextEvent() {
                guard let self else { return }
                await self.take(event)
            }
        }
        if service.member != nil {
            if !service.on { _ = try await session.switchOn(on: true) }
            try await connect()
        }
    }

    /// A planned stop: neighbours are told, and the device is closed.
    public func stop() async {
        try? await session.stop()
        await loop?.value
        loop = nil
        plan = nil
    }

    public func sleep() async { try? await session.sleep() }

    public func wake() async { try? await session.wake() }

    /// Called for every change that the system tells of; many of them change nothing for us.
    public func networkChanged(_ path: NetworkPath) {
        guard path != self.path else { return }
        self.path = path
        do {
            try session.networkChanged(network: path.info)
        } catch {
            // An address that the core cannot read: it looks for itself.
            try? session.networkChanged(network: NetworkInfo(addresses: nil))
        }
    }

    /// An octet string from the app, and one back to it.
    public func answer(_ message: Data) async -> Data {
        guard let request = try? Wire.decode(Request.self, message) else { return Wire.encode(Reply.failed(.unreadable)) }
        return Wire.encode(await answer(request))
    }

    public func answer(_ request: Request) async -> Reply {
        do {
            return try await carryOut(request)
        } catch let error as SessionError {
            return .failed(Failure(error))
        } catch {
            return .failed(Failure(kind: .internal, code: "internal", text: "\(error)", fix: ""))
        }
    }

    private func carryOut(_ request: Request) async throws -> Reply {
        switch request {
        case .home: return .home(try await home())
        case .join: return .member(try await join())
        case .leave: return .service(try await session.leave())
        case .switchOn(let on): return .service(try await session.switchOn(on: on))
        case .devices: return .devices(try await session.devices())
        case .topology: return .topology(try await session.topology())
        case .checks: return .checks(try await session.checks())
        case .supportBundle: return .supportBundle(try await session.supportBundle())
        case .usage(let days): return .usage(try await session.usage(days: days))
        case .ping(let target, let limitMs): return .ping(try await session.ping(target: target, limitMs: limitMs))
        }
    }

    private func home() async throws -> Home {
        let service = try await session.service()
        // Between two states there may be no node to ask, which is no failure.
        let status = service.state == .running ? try? await session.status() : nil
        return Home(service: service, status: status, health: status?.health ?? health, happenings: happenings.recent)
    }

    /// The invite comes by the keychain, not in a message, and goes once it is of no use any more.
    private func join() async throws -> Membership {
        guard let pending = PendingJoin.load(secrets) else { throw EngineError.noInvite }
        do {
            let member = try await session.join(invite: pending.invite, name: pending.name)
            PendingJoin.forget(secrets)
            return member
        } catch let error as SessionError {
            if case .Invite = error { PendingJoin.forget(secrets) }
            throw error
        }
    }

    private func take(_ event: Event) async {
        happenings.take(event, at: Date())
        switch event {
        case .serviceChanged(let service):
            if service.state == .running { await connectOrCancel() }
            if service.state == .notJoined { drop() }
        case .healthChanged(let health): self.health = health
        case .deviceLost(let reason): await lost(reason)
        case .neighbourUp, .neighbourDown, .excluded, .missed: break
        }
    }

    /// Sets up what the node wants, unless it is there.
    private func connect() async throws {
        guard let settings = try await session.tunSettings() else { return }
        let wanted = try TunnelPlan(settings)
        guard wanted != plan else { return }
        // Told first, as setting it up lets others run in between.
        plan = wanted
        do {
            let fd = try await host.establish(wanted)
            try session.setTun(fd: fd, mtu: wanted.mtu)
            established = clock.now
        } catch {
            plan = nil
            throw error
        }
    }

    private func connectOrCancel() async {
        do {
            try await connect()
        } catch {
            await host.cancel("the tunnel cannot be set up: \(error)")
        }
    }

    private func lost(_ reason: String) async {
        drop()
        if let established, clock.now - established < shortest {
            await host.cancel(reason)
        } else {
            await connectOrCancel()
        }
    }

    private func drop() {
        session.clearTun()
        plan = nil
    }
}

public enum EngineError: Error, Equatable {
    /// There is no network to take part in, and nobody is about to join one.
    case notJoined
    /// The app asked to join without leaving an invite.
    case noInvite
}
