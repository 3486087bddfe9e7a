import OsierMobile

/// The network beneath the tunnel, as `NWPathMonitor` tells it.
public struct NetworkPath: Equatable, Sendable {
    /// Whether packets can leave the device.
    public let satisfied: Bool
    /// Ours there, best interface first.
    public let addresses: [String]

    public init(satisfied: Bool, addresses: [String]) {
        self.satisfied = satisfied
        self.addresses = addresses
    }

    /// What the core is told: without a way out no address counts.
    var info: NetworkInfo { NetworkInfo(addresses: satisfied ? addresses : []) }
}
