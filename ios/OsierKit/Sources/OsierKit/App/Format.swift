import Foundation

/// Numbers, times and octets as people read them; the same as on the desktop.
public struct Format: Sendable {
    let texts: Texts

    public init(_ texts: Texts) {
        self.texts = texts
    }

    /// `90` as "1 minute": rounded down to its largest unit.
    public func duration(_ seconds: UInt64) -> String {
        switch seconds {
        case ..<60: return texts.counted("ago.seconds", seconds)
        case ..<3600: return texts.counted("ago.minutes", seconds / 60)
        case ..<86_400: return texts.counted("ago.hours", seconds / 3600)
        default: return texts.counted("ago.days", seconds / 86_400)
        }
    }

    /// `1234567` as "1.23 MB": decimal units, three digits.
    public func octets(_ count: UInt64) -> String {
        var units = ["units.b", "units.kb", "units.mb", "units.gb", "units.tb"][...]
        var value = Double(count)
        // 999.5 would be written as 1000.
        while value >= 999.5, units.count > 1 {
            value /= 1000
            units.removeFirst()
        }
        let digits = units.count == 5 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2
        return "\(decimal(value, digits)) \(texts[units.first!])"
    }

    public func milliseconds(_ ms: Double) -> String {
        decimal(ms, ms < 10 ? 2 : ms < 100 ? 1 : 0)
    }

    /// The core's words, as a sentence begins.
    public func sentence(_ text: String) -> String { text.prefix(1).uppercased() + text.dropFirst() }

    private func decimal(_ value: Double, _ digits: Int) -> String { String(format: "%.\(digits)f", value) }
}

extension String {
    var trimmed: String { trimmingCharacters(in: .whitespacesAndNewlines) }
}
