import Foundation

/// The texts of all apps, by their keys such as `state.off`. Their source is the desktop's catalogue, of which
/// `mobile-bindings/texts` writes a file for each language.
public struct Texts: Sendable {
    private enum Entry: Decodable {
        case text(String)
        /// By plural category.
        case counted([String: String])

        init(from decoder: Decoder) throws {
            let value = try decoder.singleValueContainer()
            if let text = try? value.decode(String.self) {
                self = .text(text)
            } else {
                self = .counted(try value.decode([String: String].self))
            }
        }
    }

    private let entries: [String: Entry]

    /// Of a catalogue's file.
    public init(json: Data) throws {
        entries = try JSONDecoder().decode([String: Entry].self, from: json)
    }

    /// Without a catalogue, keys are shown.
    public init() {
        entries = [:]
    }

    /// A key without a text is shown itself, so that it is noticed.
    public subscript(key: String) -> String {
        if case .text(let text) = entries[key] { return text }
        return key
    }

    /// The text with its `{placeholders}` filled.
    public subscript(key: String, values: [String: String]) -> String { fill(self[key], values) }

    /// The form for `count`, which also fills `{count}`. `zero`, where it is given, is for exactly 0. English, the one
    /// catalogue there is, has two categories more.
    public func counted(_ key: String, _ count: Int64, _ values: [String: String] = [:]) -> String {
        guard case .counted(let forms) = entries[key] else { return key }
        let form = (count == 0 ? forms["zero"] : nil) ?? forms[count == 1 ? "one" : "other"] ?? forms["other"]
        return fill(form ?? key, values.merging(["count": "\(count)"]) { own, _ in own })
    }

    public func counted(_ key: String, _ count: UInt64) -> String { counted(key, Int64(clamping: count)) }

    /// From left to right and once, so that a value may hold braces.
    private func fill(_ text: String, _ values: [String: String]) -> String {
        var filled = ""
        var rest = text[...]
        while let open = rest.firstIndex(of: "{"), let close = rest[open...].firstIndex(of: "}") {
            let name = String(rest[rest.index(after: open)..<close])
            filled += rest[..<open] + (values[name] ?? "{\(name)}")
            rest = rest[rest.index(after: close)...]
        }
        return filled + rest
    }
}
