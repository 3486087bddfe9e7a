import OsierMobile

/// Which devices a list shows.
public enum DeviceFilter: String, CaseIterable, Sendable {
    case all, direct, relayed, unreachable

    func takes(_ path: DevicePath) -> Bool {
        switch self {
        case .all: return true
        case .direct: return path == .direct
        case .relayed: return path == .relayed
        case .unreachable: return path == .unreachable
        }
    }
}

public enum DeviceList {
    /// Those of the filter whose name or address contains every word of `search`, in the order they came.
    public static func select(_ devices: [Device], search: String, filter: DeviceFilter) -> [Device] {
        let words = search.lowercased().split(whereSeparator: \.isWhitespace)
        return devices.filter { device in
            let text = "\(device.name) \(device.address)".lowercased()
            return filter.takes(device.path) && words.allSatisfy { text.contains($0) }
        }
    }

    public static func path(_ device: Device, _ texts: Texts) -> String {
        switch device.path {
        case .direct: return texts["devices.direct"]
        case .relayed:
            return device.via.map { texts["devices.relayed", ["via": $0]] } ?? texts["devices.relayedPlain"]
        case .unreachable: return texts["devices.unreachable"]
        }
    }
}
