import Foundation
import NetworkExtension
import OsierKit

/// The system's profile of the tunnel, and the way to the extension.
actor SystemTunnel: TunnelLink {
    private static let provider = "org.osier.app.tunnel"
    private var known: NETunnelProviderManager?

    func state() async -> TunnelState {
        guard let manager = try? await manager() else { return .absent }
        switch manager.connection.status {
        case .invalid: return .absent
        case .connecting, .reasserting: return .connecting
        case .connected: return .on
        case .disconnecting: return .stopping
        case .disconnected: return .off
        @unknown default: return .off
        }
    }

    func configure(_ rules: [OnDemandRule]) async throws {
        let manager = try await manager() ?? NETunnelProviderManager()
        let tunnel = NETunnelProviderProtocol()
        tunnel.providerBundleIdentifier = Self.provider
        // It has to be something, and is shown in the system's settings.
        tunnel.serverAddress = "Osier"
        manager.protocolConfiguration = tunnel
        manager.localizedDescription = "Osier"
        manager.isEnabled = true
        manager.onDemandRules = rules.map(NEOnDemandRule.of)
        manager.isOnDemandEnabled = !rules.isEmpty
        try await manager.saveToPreferences()
        // What was saved cannot be started before it is read again.
        try await manager.loadFromPreferences()
        known = manager
    }

    func start(toJoin: Bool) async throws {
        guard let manager = try await manager() else { throw NEVPNError(.configurationInvalid) }
        if manager.connection.status == .connected { return }
        let options = toJoin ? [StartOption.toJoin: NSNumber(value: true)] : nil
        try manager.connection.startVPNTunnel(options: options)
        try await started()
    }

    func stop() async {
        try? await manager()?.connection.stopVPNTunnel()
        await stopped()
    }

    func send(_ message: Data) async throws -> Data? {
        guard let session = try await manager()?.connection as? NETunnelProviderSession else { return nil }
        return try await withCheckedThrowingContinuation { continuation in
            do {
                try session.sendProviderMessage(message) { continuation.resume(returning: $0) }
            } catch {
                continuation.resume(throwing: error)
            }
        }
    }

    private func manager() async throws -> NETunnelProviderManager? {
        if known == nil { known = try await NETunnelProviderManager.loadAllFromPreferences().first }
        return known
    }
}

extension NEOnDemandRule {
    static func of(_ rule: OnDemandRule) -> NEOnDemandRule {
        let made: NEOnDemandRule
        switch rule.action {
        case .connect: made = NEOnDemandRuleConnect()
        case .disconnect: made = NEOnDemandRuleDisconnect()
        case .ignore: made = NEOnDemandRuleIgnore()
        }
        switch rule.interface {
        case .any: made.interfaceTypeMatch = .any
        case .wiFi: made.interfaceTypeMatch = .wiFi
        case .cellular: made.interfaceTypeMatch = .cellular
        }
        if !rule.networks.isEmpty { made.ssidMatch = rule.networks }
        return made
    }
}
