// What Foundation and OsierKit have on Apple's systems alone; compiled into each target that is checked.
import Foundation
import OsierKit

extension FileAttributeKey {
    static let protectionKey = FileAttributeKey(rawValue: "")
}

struct FileProtectionType {
    static let completeUntilFirstUserAuthentication = FileProtectionType()
}

extension NSData.WritingOptions {
    static let completeFileProtection: NSData.WritingOptions = []
}

struct Keychain: SecretStore {
    init(group: String) {}
    func read(_ key: String) -> Data? { nil }
    func write(_ key: String, _ secret: Data) -> Bool { false }
    func delete(_ key: String) {}
}
