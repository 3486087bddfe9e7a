import Foundation
import NetworkExtension
import OsierKit
import OsierMobile

/// What the system starts, with the app or without. It holds no logic: `TunnelEngine` decides, this does.
final class PacketTunnelProvider: NEPacketTunnelProvider {
    private var engine: TunnelEngine?
    private var path: PathWatcher?

    override func startTunnel(options: [String: NSObject]?) async throws {
        let toJoin = options?[StartOption.toJoin] != nil
        do {
            let config = SessionConfig(stateDir: try StateFolder.make().path, log: "info")
            let session = try Session(config: config, platform: PlatformBridge(log: SystemLog.take))
            let engine = TunnelEngine(session: session, host: Host(self), secrets: Keychain(group: SharedGroup.keychain))
            self.engine = engine
            path = PathWatcher { await engine.networkChanged($0) }
            // Without settings the system takes the tunnel for one that has not started; the node's come when it has joined.
            if toJoin { try await setTunnelNetworkSettings(NEPacketTunnelNetworkSettings.bare) }
            try await engine.start(toJoin: toJoin)
        } catch {
            SystemLog.failed("the tunnel did not start", error)
            await end()
            throw error
        }
    }

    override func stopTunnel(with reason: NEProviderStopReason) async { await end() }

    override func handleAppMessage(_ message: Data) async -> Data? { await engine?.answer(message) }

    override func sleep() async { await engine?.sleep() }

    override func wake() {
        guard let engine else { return }
        Task { await engine.wake() }
    }

    private func end() async {
        path = nil
        await engine?.stop()
        engine = nil
    }
}

/// The engine's way back to the system.
private final class Host: TunnelHost, @unchecked Sendable {
    /// It outlives its engine.
    private weak var provider: NEPacketTunnelProvider?

    init(_ provider: NEPacketTunnelProvider) {
        self.provider = provider
    }

    func establish(_ plan: TunnelPlan) async throws -> Int32 {
        guard let provider else { throw HostError.ended }
        try await provider.setTunnelNetworkSettings(NEPacketTunnelNetworkSettings(plan))
        guard let device = Utun.descriptor(of: plan) else { throw HostError.noDevice }
        return device
    }

    func cancel(_ reason: String) async {
        let why = NSError(domain: "org.osier", code: 1, userInfo: [NSLocalizedDescriptionKey: reason])
        provider?.cancelTunnelWithError(why)
    }
}

private enum HostError: Error {
    case ended, noDevice
}

/// Where the node keeps its keys: in the extension's own container, out of backups, and readable once the device has been
/// unlocked after a start, as the system may start the tunnel while it is locked.
private enum StateFolder {
    static func make() throws -> URL {
        let files = FileManager.default
        let support = try files.url(for: .applicationSupportDirectory, in: .userDomainMask, appropriateFor: nil, create: true)
        var folder = support.appendingPathComponent("node", isDirectory: true)
        try files.createDirectory(
            at: folder, withIntermediateDirectories: true,
            attributes: [.protectionKey: FileProtectionType.completeUntilFirstUserAuthentication])
        var values = URLResourceValues()
        values.isExcludedFromBackup = true
        try folder.setResourceValues(values)
        return folder
    }
}
