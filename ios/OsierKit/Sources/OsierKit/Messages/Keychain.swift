#if canImport(Security)
import Foundation
import Security

/// The keychain, in the group that app and extension share. Readable after the first unlock, as the system may start the
/// tunnel while the device is locked; never in a backup, and never on another device.
public struct Keychain: SecretStore {
    private let group: String

    public init(group: String) {
        self.group = group
    }

    public func read(_ key: String) -> Data? {
        var query = query(key)
        query[kSecReturnData] = true
        query[kSecMatchLimit] = kSecMatchLimitOne
        var found: CFTypeRef?
        guard SecItemCopyMatching(query as CFDictionary, &found) == errSecSuccess else { return nil }
        return found as? Data
    }

    public func write(_ key: String, _ secret: Data) -> Bool {
        delete(key)
        var item = query(key)
        item[kSecValueData] = secret
        item[kSecAttrAccessible] = kSecAttrAccessibleAfterFirstUnlockThisDeviceOnly
        return SecItemAdd(item as CFDictionary, nil) == errSecSuccess
    }

    public func delete(_ key: String) {
        SecItemDelete(query(key) as CFDictionary)
    }

    private func query(_ key: String) -> [CFString: Any] {
        [
            kSecClass: kSecClassGenericPassword,
            kSecAttrService: "osier",
            kSecAttrAccount: key,
            kSecAttrAccessGroup: group,
            kSecUseDataProtectionKeychain: true,
        ]
    }
}
#endif
