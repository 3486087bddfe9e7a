import Foundation
import OsierMobile

/// Usage as a table and as a file.
public enum UsageTable {
    /// What a day's bar shows.
    public struct Total: Equatable, Sendable {
        public let own: UInt64
        /// What is carried comes in and goes out again: it counts once, as it does for its owner.
        public let carried: UInt64
    }

    public static func total(_ day: UsageDay) -> Total {
        Total(
            own: day.ownSentOctets + day.ownReceivedOctets,
            carried: max(day.carriedSentOctets, day.carriedReceivedOctets))
    }

    /// The last `count` days up to today, one for each date, with zeros where nothing was counted.
    public static func lastDays(_ usage: Usage, _ count: Int) -> [UsageDay] {
        let days = ISO8601DateFormatter()
        days.formatOptions = [.withFullDate]
        guard let today = days.date(from: usage.today) else { return [] }
        let byDate = Dictionary(usage.days.map { ($0.date, $0) }, uniquingKeysWith: { first, _ in first })
        return (0..<count).map { i in
            let date = days.string(from: today.addingTimeInterval(-86_400 * Double(count - 1 - i)))
            return byDate[date]
                ?? UsageDay(date: date, ownSentOctets: 0, ownReceivedOctets: 0, carriedSentOctets: 0, carriedReceivedOctets: 0)
        }
    }

    /// RFC 4180: octets, one row a day, with names that programs can rely on in every language.
    public static func csv(_ usage: Usage) -> String {
        let header = "date,own_sent_octets,own_received_octets,carried_sent_octets,carried_received_octets"
        let rows = usage.days.map { day in
            "\(day.date),\(day.ownSentOctets),\(day.ownReceivedOctets),\(day.carriedSentOctets),\(day.carriedReceivedOctets)"
        }
        return ([header] + rows + [""]).joined(separator: "\r\n")
    }
}
