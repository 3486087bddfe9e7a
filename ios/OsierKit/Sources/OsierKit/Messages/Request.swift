import OsierMobile

/// What the app asks its extension, by `NETunnelProviderSession.sendProviderMessage`. No message holds a secret.
public enum Request: Codable, Equatable, Sendable {
    case home
    /// With the invite that the app left as a `PendingJoin`.
    case join
    case leave
    case switchOn(Bool)
    case devices
    case topology
    case usage(days: UInt32)
    case checks
    case supportBundle
    case ping(target: String, limitMs: UInt32)
}

public enum Reply: Codable, Equatable, Sendable {
    case home(Home)
    case member(Membership)
    case service(ServiceView)
    case devices([Device])
    case topology(Topology)
    case usage(Usage)
    case checks([Check])
    case supportBundle(String)
    /// `nil`: no answer came in time.
    case ping(PingReply?)
    case failed(Failure)
}

/// What the home screen shows.
public struct Home: Codable, Equatable, Sendable {
    public let service: ServiceView
    /// Only while a node runs.
    public let status: Status?
    public let health: [Health]
    /// Oldest first.
    public let happenings: [Happening]
}
