import OsierMobile

/// What the system is asked to set up for the mesh: the node's address and the network's prefix, and nothing else. All
/// other traffic goes past the tunnel, and names are looked up as before.
public struct TunnelPlan: Equatable, Sendable {
    public let address: String
    public let addressLength: UInt8
    public let route: String
    public let routeLength: UInt8
    public let mtu: UInt16

    /// IPv6 asks for 1280 at least; more than 1420 does not fit into a datagram of an ordinary link.
    static let mtus: ClosedRange<UInt16> = 1280...1420

    public init(_ settings: TunSettings) throws {
        guard IPv6(settings.address) != nil else { throw PlanError.noAddress(settings.address) }
        guard let route = IPv6(settings.route) else { throw PlanError.noAddress(settings.route) }
        guard settings.addressLength <= 128, settings.routeLength <= 128 else { throw PlanError.badLength }
        // The phone's own internet is never taken.
        guard settings.routeLength >= 8 else { throw PlanError.tooWide(settings.routeLength) }
        guard IPv6(settings.address)!.isIn(route, length: settings.routeLength) else { throw PlanError.addressOutside }
        guard Self.mtus.contains(settings.mtu) else { throw PlanError.badMtu(settings.mtu) }
        address = settings.address
        addressLength = settings.addressLength
        self.route = settings.route
        routeLength = settings.routeLength
        mtu = settings.mtu
    }

    /// Where the system's settings name a remote end. The mesh has none, so it is what the settings show: the network.
    public var remote: String { route }
}

public enum PlanError: Error, Equatable {
    case noAddress(String)
    case badLength
    case tooWide(UInt8)
    case addressOutside
    case badMtu(UInt16)
}
