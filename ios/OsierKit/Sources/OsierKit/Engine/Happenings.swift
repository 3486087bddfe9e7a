import Foundation
import OsierMobile

/// What came and went lately, for whoever looks for a fault.
struct Happenings {
    /// The newest are kept, oldest first.
    private(set) var recent: [Happening] = []
    static let kept = 50

    mutating func take(_ event: Event, at time: Date) {
        let what: Happening.What
        switch event {
        case .neighbourUp(let name): what = .up(name: name)
        case .neighbourDown(let name, let reason): what = .down(name: name, reason: reason)
        case .excluded(let reason): what = .excluded(reason: reason)
        case .deviceLost(let reason): what = .deviceLost(reason: reason)
        case .missed(let count): what = .missed(count: count)
        case .serviceChanged, .healthChanged: return
        }
        if recent.count == Self.kept { recent.removeFirst() }
        recent.append(Happening(time: time, what: what))
    }
}

public struct Happening: Codable, Equatable, Sendable {
    public enum What: Codable, Equatable, Sendable {
        case up(name: String)
        case down(name: String, reason: String)
        case excluded(reason: String)
        case deviceLost(reason: String)
        case missed(count: UInt64)
    }

    public let time: Date
    public let what: What
}

extension Happening {
    public func text(_ texts: Texts) -> String {
        switch what {
        case .up(let name): return texts["phone.ios.up", ["name": name]]
        case .down(let name, let reason): return texts["phone.ios.down", ["name": name, "reason": reason]]
        case .excluded(let reason): return texts["phone.ios.excluded", ["reason": reason]]
        case .deviceLost(let reason): return texts["phone.ios.deviceLost", ["reason": reason]]
        case .missed(let count): return texts["phone.ios.missed", ["count": "\(count)"]]
        }
    }
}
