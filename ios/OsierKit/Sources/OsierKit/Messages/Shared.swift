import Foundation

/// What app and extension have to agree on.
public enum StartOption {
    /// Given when the app is about to ask for a join.
    public static let toJoin = "to-join"
}

public enum SharedGroup {
    /// The keychain's group, which begins with the developer's own prefix: a build writes it into Info.plist.
    public static var keychain: String { Bundle.main.object(forInfoDictionaryKey: "OsierKeychainGroup") as? String ?? "" }
}
