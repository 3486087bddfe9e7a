import OsierKit
import SwiftUI

struct SettingsScreen: View {
    @EnvironmentObject private var store: AppStore
    @State private var leaving = false
    @State private var exceptions = ""

    var body: some View {
        Form {
            onDemand
            network
            Section(store.texts["settings.about"]) {
                Fact(store.texts["settings.appVersion"], version)
            }
        }
        .navigationTitle(store.texts["settings.title"])
        .onAppear { exceptions = store.state.onDemand.exceptNetworks.joined(separator: "\n") }
        .refreshes(.settings, store)
    }

    private var onDemand: some View {
        Section {
            Toggle(store.texts["phone.ios.onDemand"], isOn: choice(\.enabled))
            if store.state.onDemand.enabled {
                Toggle(store.texts["phone.ios.onWiFi"], isOn: choice(\.onWiFi))
                Toggle(store.texts["phone.ios.onCellular"], isOn: choice(\.onCellular))
                TextField(store.texts["phone.ios.exceptNetworks"], text: $exceptions, axis: .vertical)
                    .textInputAutocapitalization(.never)
                    .autocorrectionDisabled()
                    .onSubmit(chooseExceptions)
                Button(store.texts["phone.ios.keepExceptions"], action: chooseExceptions)
            }
            FailureNotice(.choose, "phone.ios.onDemandFailed")
        } header: {
            Text(store.texts["settings.startup"])
        } footer: {
            Text(store.texts["phone.ios.onDemandHint"])
        }
    }

    @ViewBuilder private var network: some View {
        if let member = store.state.service.member {
            Section(store.texts["settings.network"]) {
                FailureNotice(.leave, "settings.leaveFailed")
                Fact(store.texts["home.network"], member.network)
                Fact(store.texts["settings.certificateUntil"], until(member.certificateNotAfterUnix))
                Button(store.texts["settings.leave"], role: .destructive) { leaving = true }
                    .confirmationDialog(
                        store.texts["settings.leaveSure", ["network": member.network]], isPresented: $leaving,
                        titleVisibility: .visible
                    ) {
                        Button(store.texts["settings.leaveYes"], role: .destructive) { Task { await store.model.leave() } }
                        Button(store.texts["settings.leaveNo"], role: .cancel) {}
                    }
            }
        }
    }

    private func choice(_ key: WritableKeyPath<OnDemand, Bool>) -> Binding<Bool> {
        Binding(get: { store.state.onDemand[keyPath: key] }, set: { on in choose { $0[keyPath: key] = on } })
    }

    private func chooseExceptions() {
        choose { $0.exceptNetworks = exceptions.split(separator: "\n").map(String.init) }
    }

    private func choose(_ change: (inout OnDemand) -> Void) {
        var chosen = store.state.onDemand
        change(&chosen)
        Task { await store.model.choose(chosen) }
    }

    private func until(_ unix: UInt64) -> String {
        Date(timeIntervalSince1970: Double(unix)).formatted(date: .long, time: .omitted)
    }

    private var version: String { Bundle.main.object(forInfoDictionaryKey: "CFBundleShortVersionString") as? String ?? "" }
}
