import OSLog
import OsierMobile

/// Lines of the core in the system's log. Neither keys nor invites are ever in them, but names and addresses: they stay
/// private unless a developer looks.
enum SystemLog {
    private static let logger = Logger(subsystem: "org.osier", category: "core")

    @Sendable static func take(_ line: LogLine) {
        logger.log(level: level(line.level), "\(line.target, privacy: .public): \(line.text, privacy: .private)")
    }

    static func failed(_ what: String, _ error: any Error) {
        logger.error("\(what, privacy: .public): \(String(describing: error), privacy: .private)")
    }

    private static func level(_ level: LogLevel) -> OSLogType {
        switch level {
        case .error: return .fault
        case .warning: return .error
        case .info: return .default
        case .debug: return .info
        case .trace: return .debug
        }
    }
}
