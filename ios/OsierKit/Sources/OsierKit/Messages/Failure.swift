import OsierMobile

/// Why something was not done: `SessionError`, as it travels and as a screen shows it.
public struct Failure: Error, Codable, Equatable, Sendable {
    public enum Kind: String, Codable, Sendable {
        case invite, name, registry, refused, notJoined, notRunning, busy, notProtected, device, storage, argument, `internal`
        /// The extension did not answer, or the tunnel did not start.
        case tunnel
    }

    public let kind: Kind
    /// Stable, machine-readable.
    public let code: String
    public let text: String
    public let fix: String

    public init(kind: Kind, code: String, text: String, fix: String) {
        self.kind = kind
        self.code = code
        self.text = text
        self.fix = fix
    }

    init(_ error: SessionError) {
        let (kind, why): (Kind, Problem)
        switch error {
        case .Invite(let problem): (kind, why) = (.invite, problem)
        case .Name(let problem): (kind, why) = (.name, problem)
        case .Registry(let problem): (kind, why) = (.registry, problem)
        case .Refused(let problem): (kind, why) = (.refused, problem)
        case .NotJoined(let problem): (kind, why) = (.notJoined, problem)
        case .NotRunning(let problem): (kind, why) = (.notRunning, problem)
        case .Busy(let problem): (kind, why) = (.busy, problem)
        case .NotProtected(let problem): (kind, why) = (.notProtected, problem)
        case .Device(let problem): (kind, why) = (.device, problem)
        case .Storage(let problem): (kind, why) = (.storage, problem)
        case .Argument(let problem): (kind, why) = (.argument, problem)
        case .Internal(let problem): (kind, why) = (.internal, problem)
        }
        self.init(kind: kind, code: why.code, text: why.text, fix: why.fix)
    }

    /// App and extension are of one build, so this is a fault.
    static let unreadable = Failure(
        kind: .internal, code: "internal", text: "app and tunnel do not understand each other",
        fix: "start the device again, or install the app anew")

    static let noKeychain = Failure(
        kind: .storage, code: "keychain", text: "the invite cannot be kept for the tunnel", fix: "unlock the device and try again")

    static let notStarted = Failure(
        kind: .tunnel, code: "not-started", text: "the tunnel did not start",
        fix: "allow the VPN when the system asks, and see that no other one is on")

    static let silent = Failure(
        kind: .tunnel, code: "no-answer", text: "the tunnel does not answer", fix: "turn it off and on again")
}
