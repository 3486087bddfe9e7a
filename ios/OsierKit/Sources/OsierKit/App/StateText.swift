import OsierMobile

/// The texts of the state line. What the state is, the core decides.
public struct StateText: Equatable, Sendable {
    public let line: String
    /// One or two sentences more.
    public let detail: String

    public init(_ state: StateLine, _ texts: Texts) {
        let key = Self.key(state.kind)
        let values = [
            "network": state.network,
            "ago": state.verifiedSeconds.map(Format(texts).duration) ?? texts["ago.never"],
            "who": state.verifiedWith ?? texts["app.unknown"],
            "found": "\(state.neighbours)",
            "wanted": "\(state.wanted)",
        ]
        switch state.kind {
        case .connected: line = texts.counted("state.connected", state.neighbours)
        case .certificateExpires: line = texts.counted("state.certificateExpires", state.daysLeft)
        default: line = texts["state.\(key)", values]
        }
        let silent = state.kind == .certificateExpires && state.verifiedSeconds == nil
        detail = texts["stateDetail.\(key)\(silent ? "Silent" : "")", values]
    }

    static func key(_ kind: StateKind) -> String {
        switch kind {
        case .notJoined: return "notJoined"
        case .joining: return "joining"
        case .off: return "off"
        case .stopping: return "stopping"
        case .starting: return "starting"
        case .failed: return "failed"
        case .revoked: return "revoked"
        case .certificateExpired: return "certificateExpired"
        case .offline: return "offline"
        case .udpBlocked: return "udpBlocked"
        case .alone: return "alone"
        case .looking: return "looking"
        case .certificateExpires: return "certificateExpires"
        case .registryUnreachable: return "registryUnreachable"
        case .relayed: return "relayed"
        case .connected: return "connected"
        }
    }
}
