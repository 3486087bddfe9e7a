import Foundation

/// The system's word on the tunnel: `NEVPNStatus`.
public enum TunnelState: Sendable {
    /// There is no profile yet: the user has not been asked for permission.
    case absent, off, connecting, on, stopping
}

/// The app's way to its extension.
public protocol TunnelLink: Sendable {
    func state() async -> TunnelState
    /// Writes the profile, which asks the user for permission once.
    func configure(_ rules: [OnDemandRule]) async throws
    /// Returns when it is on; throws when it went off instead. `toJoin`: nothing to set up yet.
    func start(toJoin: Bool) async throws
    func stop() async
    func send(_ message: Data) async throws -> Data?
}

/// Whether a start has come to its end; the system tells only of states.
struct StartWatch {
    enum Verdict { case wait, up, failed }

    private var begun = false
    /// It has begun by then, or it never will.
    static let hesitation = Duration.seconds(5)
    static let limit = Duration.seconds(60)

    mutating func take(_ state: TunnelState, after waited: Duration) -> Verdict {
        switch state {
        case .on: return .up
        case .connecting: begun = true
        // It may still be about the end before.
        case .absent, .off, .stopping: if begun || waited > Self.hesitation { return .failed }
        }
        return waited > Self.limit ? .failed : .wait
    }
}

extension TunnelLink {
    /// For whoever has asked the system to start it: returns when it is on.
    public func started() async throws {
        let clock = ContinuousClock(), begin = clock.now
        var watch = StartWatch()
        while true {
            switch watch.take(await state(), after: clock.now - begin) {
            case .up: return
            case .failed: throw Failure.notStarted
            case .wait: try await Task.sleep(for: .milliseconds(100))
            }
        }
    }

    /// Likewise for a stop, which the system may refuse to end within ten seconds.
    public func stopped() async {
        for _ in 0..<100 {
            let state = await state()
            if state == .off || state == .absent { return }
            try? await Task.sleep(for: .milliseconds(100))
        }
    }
}
