import Foundation
import OsierKit
import OsierMobile

/// What the app remembers. None of it is secret.
final class Settings: SettingsStore {
    private let defaults = UserDefaults.standard

    var onDemand: OnDemand {
        get { read("on-demand") ?? OnDemand() }
        set { write("on-demand", newValue) }
    }

    var last: ServiceView? {
        get { read("service") }
        set { write("service", newValue) }
    }

    private func read<T: Decodable>(_ key: String) -> T? {
        defaults.data(forKey: key).flatMap { try? JSONDecoder().decode(T.self, from: $0) }
    }

    private func write<T: Encodable>(_ key: String, _ value: T?) {
        defaults.set(value.flatMap { try? JSONEncoder().encode($0) }, forKey: key)
    }
}
