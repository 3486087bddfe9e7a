import Foundation

/// What can be said about an invite and a name before anybody is asked.
public enum Invite {
    public static let prefix = "osier://join/"
    static let longestName = 63
    /// Longer than any invite; a pasted book is not sent.
    static let longest = 8192

    /// White space comes in by e-mail and chats.
    public static func tidy(_ text: String) -> String { String(text.filter { !$0.isWhitespace }) }

    /// The key of the text that says what is wrong; `nil` when it is worth asking.
    public static func complaint(_ invite: String) -> String? {
        let text = tidy(invite)
        if text.isEmpty { return "join.error.empty" }
        guard text.hasPrefix(prefix) else { return "join.error.notInvite" }
        let rest = text.dropFirst(prefix.count)
        let fits = !rest.isEmpty && text.utf8.count <= longest && rest.utf8.allSatisfy { $0.isLetterOrDigit || $0 == 0x2d || $0 == 0x5f }
        return fits ? nil : "join.error.invalid"
    }

    /// Likewise for the device's name, of which one is needed: a phone's host name is seldom a good one.
    public static func nameComplaint(_ name: String) -> String? {
        let text = name.trimmed
        if text.count > longestName { return "join.error.nameTooLong" }
        let letters = Array(text.utf8)
        let fits = letters.allSatisfy { $0.isLetterOrDigit || $0 == 0x2d }
            && letters.first != 0x2d && letters.last != 0x2d && !letters.isEmpty
        return fits ? nil : "join.error.badName"
    }

    /// A name that can be one, of what the system calls the device: "Ada’s iPhone" becomes "adas-iphone".
    public static func suggestedName(_ device: String) -> String {
        let folded = device.folding(options: [.diacriticInsensitive, .caseInsensitive], locale: Locale(identifier: "en"))
        let words = folded.lowercased().filter { $0 != "’" && $0 != "'" }
            .split { $0.utf8.count > 1 || !$0.utf8.first!.isLetterOrDigit }
        let name = words.joined(separator: "-").prefix(longestName)
        let tidy = name.hasSuffix("-") ? name.dropLast() : name
        return tidy.isEmpty ? "phone" : String(tidy)
    }

    /// The text for a refusal of the session or the registry.
    public static func refusal(_ failure: Failure, name: String, _ texts: Texts) -> String {
        switch failure.code {
        case "invite-invalid": return texts["join.error.invalid"]
        case "invite-expired": return texts["join.error.expired"]
        case "invite-used": return texts["join.error.used"]
        case "invite-unknown": return texts["join.error.unknown"]
        case "name-invalid": return texts["join.error.badName"]
        case "name-taken": return texts["join.error.nameTaken", ["name": name]]
        case "wrong-network": return texts["join.error.otherNetwork"]
        case "registry-unreachable": return texts["join.error.unreachable"]
        default:
            let reason = failure.fix.isEmpty ? failure.text : "\(failure.text). \(failure.fix)"
            return texts["join.error.other", ["reason": reason]]
        }
    }
}

extension UInt8 {
    fileprivate var isLetterOrDigit: Bool {
        (0x30...0x39).contains(self) || (0x41...0x5a).contains(self) || (0x61...0x7a).contains(self)
    }
}
