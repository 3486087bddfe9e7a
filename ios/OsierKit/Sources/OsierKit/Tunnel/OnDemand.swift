/// When the system starts the tunnel by itself, as the user chose it.
public struct OnDemand: Codable, Equatable, Sendable {
    public var enabled: Bool
    public var onWiFi: Bool
    public var onCellular: Bool
    /// Wi-Fi networks where it is not started, such as those at home.
    public var exceptNetworks: [String]

    public init(enabled: Bool = true, onWiFi: Bool = true, onCellular: Bool = true, exceptNetworks: [String] = []) {
        self.enabled = enabled
        self.onWiFi = onWiFi
        self.onCellular = onCellular
        self.exceptNetworks = exceptNetworks
    }

    /// The system takes the first rule that matches. `switchedOn` is the user's switch: while it is off, nothing starts.
    public func rules(switchedOn: Bool) -> [OnDemandRule] {
        guard enabled, switchedOn else { return [] }
        var rules: [OnDemandRule] = []
        let names = exceptNetworks.map { $0.trimmed }.filter { !$0.isEmpty }
        if onWiFi, !names.isEmpty { rules.append(OnDemandRule(.disconnect, .wiFi, networks: names)) }
        rules.append(OnDemandRule(onWiFi ? .connect : .disconnect, .wiFi))
        rules.append(OnDemandRule(onCellular ? .connect : .disconnect, .cellular))
        // Cables, and whatever comes: as it is.
        rules.append(OnDemandRule(.ignore, .any))
        return rules
    }
}

/// One of `NEOnDemandRule`.
public struct OnDemandRule: Equatable, Sendable {
    public enum Action: Sendable { case connect, disconnect, ignore }
    public enum Interface: Sendable { case any, wiFi, cellular }

    public let action: Action
    public let interface: Interface
    /// Only there; everywhere when empty.
    public let networks: [String]

    init(_ action: Action, _ interface: Interface, networks: [String] = []) {
        self.action = action
        self.interface = interface
        self.networks = networks
    }
}
