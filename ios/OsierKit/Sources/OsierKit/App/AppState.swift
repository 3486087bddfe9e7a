import OsierMobile

/// What can fail, each on its own.
public enum Action: Sendable {
    case refresh, join, leave, switchOn, choose, ping, check, bundle
}

/// All that screens show.
public struct AppState: Equatable, Sendable {
    public internal(set) var tunnel = TunnelState.off
    /// The newest answer of the extension; `nil` while it does not run.
    public internal(set) var home: Home?
    var at: ContinuousClock.Instant?
    /// What was last heard of the service, also in earlier runs of the app.
    var last: ServiceView?
    public internal(set) var devices: [Device] = []
    public internal(set) var topology: Topology?
    public internal(set) var usage: Usage?
    public internal(set) var checks: [Check]?
    /// By address.
    public internal(set) var pings: [String: Pings] = [:]
    public internal(set) var onDemand = OnDemand()
    /// What did not work when it was last tried.
    public internal(set) var failures: [Action: Failure] = [:]
    /// Something is under way that the user waits for.
    public internal(set) var busy = false

    /// The service as far as it is known: without a tunnel it is off, whatever it was before.
    public var service: ServiceView {
        if let home { return home.service }
        let member = last?.member
        let state: ServiceState
        switch tunnel {
        case .connecting: state = member == nil ? .joining : .starting
        case .stopping: state = .stopping
        case .on: state = last?.state ?? .starting
        case .off, .absent: state = member == nil ? .notJoined : .off
        }
        return ServiceView(state: state, on: state != .off && member != nil, member: member, problem: nil)
    }
}

/// What the app remembers; none of it is secret.
public protocol SettingsStore: AnyObject {
    var onDemand: OnDemand { get set }
    var last: ServiceView? { get set }
}
