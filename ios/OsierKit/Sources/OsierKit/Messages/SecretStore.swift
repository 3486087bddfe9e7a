import Foundation

/// Where secrets wait that app and extension share.
public protocol SecretStore: Sendable {
    func read(_ key: String) -> Data?
    /// Whether it was kept.
    @discardableResult func write(_ key: String, _ secret: Data) -> Bool
    func delete(_ key: String)
}

/// An invite that has not been used yet. It is a secret until then.
public struct PendingJoin: Codable, Equatable, Sendable {
    public let invite: String
    /// The device's name as the user chose it.
    public let name: String?

    public init(invite: String, name: String?) {
        self.invite = invite
        self.name = name
    }

    private static let key = "pending-join"

    public static func load(_ store: any SecretStore) -> PendingJoin? {
        store.read(key).flatMap { try? Wire.decode(PendingJoin.self, $0) }
    }

    public func save(_ store: any SecretStore) -> Bool { store.write(Self.key, Wire.encode(self)) }

    public static func forget(_ store: any SecretStore) { store.delete(key) }
}
