@_exported import Foundation

public enum NEVPNStatus: Int, Sendable { case invalid, disconnected, connecting, connected, reasserting, disconnecting }

public struct NEVPNError: Error {
    public enum Code: Sendable { case configurationInvalid }
    public init(_ code: Code) {}
}

open class NEVPNConnection: NSObject {
    public var status: NEVPNStatus { fatalError() }
    public func startVPNTunnel(options: [String: NSObject]?) throws {}
    public func stopVPNTunnel() {}
}

public final class NETunnelProviderSession: NEVPNConnection {
    public func sendProviderMessage(_ message: Data, responseHandler: ((Data?) -> Void)?) throws {}
}

open class NEVPNProtocol: NSObject {
    public var serverAddress: String?
}

public final class NETunnelProviderProtocol: NEVPNProtocol {
    public var providerBundleIdentifier: String?
}

public enum NEOnDemandRuleInterfaceType: Int, Sendable { case any, wiFi, cellular }

open class NEOnDemandRule: NSObject {
    public var interfaceTypeMatch = NEOnDemandRuleInterfaceType.any
    public var ssidMatch: [String]?
}

public final class NEOnDemandRuleConnect: NEOnDemandRule {}
public final class NEOnDemandRuleDisconnect: NEOnDemandRule {}
public final class NEOnDemandRuleIgnore: NEOnDemandRule {}

open class NEVPNManager: NSObject, @unchecked Sendable {
    public var connection: NEVPNConnection { fatalError() }
    public var protocolConfiguration: NEVPNProtocol?
    public var localizedDescription: String?
    public var isEnabled = false
    public var isOnDemandEnabled = false
    public var onDemandRules: [NEOnDemandRule]?
    public func saveToPreferences() async throws {}
    public func loadFromPreferences() async throws {}
}

public final class NETunnelProviderManager: NEVPNManager, @unchecked Sendable {
    public static func loadAllFromPreferences() async throws -> [NETunnelProviderManager] { [] }
}

open class NETunnelNetworkSettings: NSObject {
    public init(tunnelRemoteAddress: String) {}
}

public final class NEPacketTunnelNetworkSettings: NETunnelNetworkSettings {
    public var ipv6Settings: NEIPv6Settings?
    public var mtu: NSNumber?
}

public final class NEIPv6Settings: NSObject {
    public init(addresses: [String], networkPrefixLengths: [NSNumber]) {}
    public var includedRoutes: [NEIPv6Route]?
}

public final class NEIPv6Route: NSObject {
    public init(destinationAddress: String, networkPrefixLength: NSNumber) {}
}

public enum NEProviderStopReason: Int, Sendable { case none, userInitiated, providerFailed }

open class NEPacketTunnelProvider: NSObject {
    open func startTunnel(options: [String: NSObject]? = nil) async throws {}
    open func stopTunnel(with reason: NEProviderStopReason) async {}
    open func handleAppMessage(_ messageData: Data) async -> Data? { nil }
    open func sleep() async {}
    open func wake() {}
    public func setTunnelNetworkSettings(_ settings: NETunnelNetworkSettings?) async throws {}
    public func cancelTunnelWithError(_ error: (any Error)?) {}
}
