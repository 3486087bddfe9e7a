import OsierMobile

/// What the live ping of a device has seen.
public struct Pings: Equatable, Sendable {
    /// The chart shows so many.
    static let kept = 48

    public private(set) var sent = 0
    public private(set) var received = 0
    public private(set) var min = Double.infinity
    public private(set) var max = 0.0
    /// Oldest first; `nil` is one that was lost.
    public private(set) var recent: [Double?] = []
    private var sum = 0.0

    public init() {}

    public var mean: Double { received == 0 ? 0 : sum / Double(received) }

    /// `nil`, or an answer of somebody on the way: it was lost.
    public mutating func take(_ reply: PingReply?) {
        sent += 1
        let ms = reply.flatMap { $0.outcome == .echo ? $0.rttMs : nil }
        if let ms {
            received += 1
            sum += ms
            min = Swift.min(min, ms)
            max = Swift.max(max, ms)
        }
        if recent.count == Self.kept { recent.removeFirst() }
        recent.append(ms)
    }

    public func text(_ texts: Texts, _ format: Format) -> String {
        if sent == 0 { return texts["device.pingIdle"] }
        if received == 0 { return texts["device.pingNone", ["sent": "\(sent)"]] }
        return texts[
            "device.pingResult",
            [
                "sent": "\(sent)", "received": "\(received)", "min": format.milliseconds(min),
                "mean": format.milliseconds(mean), "max": format.milliseconds(max),
            ]]
    }
}
