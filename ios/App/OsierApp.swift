import OsierKit
import SwiftUI

@main
struct OsierApp: App {
    @StateObject private var store = AppStore()

    var body: some Scene {
        WindowGroup {
            RootScreen()
                .environmentObject(store)
                .onOpenURL { store.opened = $0.absoluteString }
        }
    }
}

struct RootScreen: View {
    @EnvironmentObject private var store: AppStore
    @Environment(\.scenePhase) private var phase

    var body: some View {
        // Nobody looks at an app in the background, so nothing is asked there.
        if phase != .background {
            if store.state.service.member == nil {
                NavigationStack { JoinScreen() }
            } else {
                tabs
            }
        }
    }

    private var tabs: some View {
        TabView {
            tab("home", "house") { HomeScreen() }
            tab("devices", "laptopcomputer.and.iphone") { DevicesScreen() }
            tab("topology", "point.3.connected.trianglepath.dotted") { TopologyScreen() }
            tab("usage", "chart.bar") { UsageScreen() }
            tab("diagnostics", "stethoscope") { DiagnosticsScreen() }
        }
    }

    private func tab<Screen: View>(_ key: String, _ image: String, @ViewBuilder _ screen: () -> Screen) -> some View {
        NavigationStack { screen() }
            .tabItem { Label(store.texts["nav.\(key)"], systemImage: image) }
    }
}
