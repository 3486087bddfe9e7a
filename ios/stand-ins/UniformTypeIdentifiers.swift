@_exported import Foundation

public struct UTType: Sendable {
    public static let utf8PlainText = UTType()
}
