import NetworkExtension
import OsierKit

extension NEPacketTunnelNetworkSettings {
    /// No names are looked up through the mesh, and no default route leads there.
    convenience init(_ plan: TunnelPlan) {
        self.init(tunnelRemoteAddress: plan.remote)
        let ours = NEIPv6Settings(
            addresses: [plan.address], networkPrefixLengths: [NSNumber(value: plan.addressLength)])
        ours.includedRoutes = [
            NEIPv6Route(destinationAddress: plan.route, networkPrefixLength: NSNumber(value: plan.routeLength))
        ]
        ipv6Settings = ours
        mtu = NSNumber(value: plan.mtu)
    }

    /// Of a tunnel that leads nowhere yet.
    static var bare: NEPacketTunnelNetworkSettings { NEPacketTunnelNetworkSettings(tunnelRemoteAddress: "::1") }
}
