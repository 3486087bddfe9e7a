import Foundation

/// How messages travel between app and extension.
enum Wire {
    static func encode<T: Encodable>(_ value: T) -> Data {
        // Only numbers that JSON has no form for can fail; the core gives none.
        (try? JSONEncoder().encode(value)) ?? Data()
    }

    static func decode<T: Decodable>(_ type: T.Type, _ data: Data) throws -> T {
        try JSONDecoder().decode(type, from: data)
    }
}
