import OsierKit
import OsierMobile
import SwiftUI

/// The app's model as SwiftUI watches it.
@MainActor
final class AppStore: ObservableObject {
    @Published private(set) var state: AppState
    /// Of a link that was opened; the join screen takes it.
    @Published var opened: String?

    let model: AppModel
    let texts: Texts
    let format: Format

    init() {
        model = AppModel(link: SystemTunnel(), secrets: Keychain(group: SharedGroup.keychain), settings: Settings())
        state = model.state
        texts = Self.catalogue()
        format = Format(texts)
        model.onChange = { [weak self] in self?.state = $0 }
    }

    /// The first of the user's languages that there are texts in.
    private static func catalogue() -> Texts {
        let languages = Bundle.main.preferredLocalizations + Locale.preferredLanguages.map { String($0.prefix(2)) } + ["en"]
        for language in languages {
            guard let url = Bundle.main.url(forResource: language, withExtension: "json"),
                let json = try? Data(contentsOf: url), let texts = try? Texts(json: json)
            else { continue }
            return texts
        }
        return Texts()
    }
}

extension View {
    /// Keeps what a screen shows fresh as long as it is seen.
    func refreshes(_ screen: AppModel.Screen, _ store: AppStore, every seconds: Double = 2) -> some View {
        task {
            while !Task.isCancelled {
                await store.model.refresh(screen)
                try? await Task.sleep(for: .seconds(seconds))
            }
        }
    }
}
