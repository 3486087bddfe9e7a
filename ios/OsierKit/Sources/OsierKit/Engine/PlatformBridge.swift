import OsierMobile

/// The core's calls upwards.
public final class PlatformBridge: Platform {
    private let logger: @Sendable (LogLine) -> Void

    public init(log: @escaping @Sendable (LogLine) -> Void) {
        logger = log
    }

    /// The system never routes what an extension sends into that extension's own tunnel.
    public func protect(fd: Int32) throws -> Bool { true }

    public func log(line: LogLine) throws { logger(line) }
}
