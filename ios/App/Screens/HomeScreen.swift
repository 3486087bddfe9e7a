import OsierKit
import OsierMobile
import SwiftUI

struct HomeScreen: View {
    @EnvironmentObject private var store: AppStore

    var body: some View {
        List {
            // The line ages by itself: an answer that is old says nothing about now.
            Section {
                TimelineView(.periodic(from: .now, by: 1)) { _ in StateHead(state: store.model.line()) }
                FailureNotice(.switchOn, "home.switchFailed")
                FailureNotice(.refresh, "phone.ios.silent")
            }
            health
            if let status = store.state.home?.status { figures(status) }
            if let member = store.state.service.member { device(member) }
        }
        .navigationTitle(store.texts["nav.home"])
        .toolbar {
            NavigationLink { SettingsScreen() } label: { Label(store.texts["nav.settings"], systemImage: "gearshape") }
        }
        .refreshes(.home, store)
    }

    @ViewBuilder private var health: some View {
        let problem = store.state.service.problem
        let health = store.state.home?.health ?? []
        if problem != nil || !health.isEmpty {
            Section(store.texts["home.health"]) {
                if let problem { notice(.error, problem.text, problem.fix) }
                ForEach(health, id: \.code) { notice($0.severity, $0.text, $0.fix) }
            }
        }
    }

    private func notice(_ severity: Severity, _ text: String, _ fix: String) -> some View {
        let (image, colour): (String, Color)
        switch severity {
        case .error: (image, colour) = ("xmark.octagon.fill", .red)
        case .warning: (image, colour) = ("exclamationmark.triangle.fill", .orange)
        case .info: (image, colour) = ("info.circle.fill", .blue)
        }
        return Notice(
            image: image, colour: colour, text: store.format.sentence(text),
            fix: store.texts["home.fix", ["fix": store.format.sentence(fix)]])
    }

    private func figures(_ status: Status) -> some View {
        Section(store.texts["home.figures"]) {
            Fact(store.texts["home.neighbours"], "\(status.neighbours)")
            Fact(store.texts["home.members"], "\(status.members)")
            Fact(store.texts["home.sent"], store.format.octets(status.sentOctets))
            Fact(store.texts["home.received"], store.format.octets(status.receivedOctets))
        }
    }

    private func device(_ member: Membership) -> some View {
        Section(store.texts["home.thisDevice"]) {
            Fact(store.texts["home.name"], member.name)
            Fact(store.texts["home.address"], member.address)
            Fact(store.texts["home.network"], member.network)
        }
    }
}

private struct StateHead: View {
    @EnvironmentObject private var store: AppStore
    let state: StateLine

    var body: some View {
        let text = StateText(state, store.texts)
        HStack(alignment: .top) {
            Label {
                VStack(alignment: .leading, spacing: 4) {
                    Text(text.line).font(.headline)
                    Text(text.detail).font(.subheadline).foregroundStyle(.secondary)
                }
            } icon: {
                Image(systemName: state.face.image).foregroundStyle(state.face.colour)
            }
            .accessibilityElement(children: .combine)
            Spacer()
            if let on = state.on {
                Toggle(store.texts["home.switchLabel"], isOn: Binding(get: { on }, set: { turn($0) }))
                    .labelsHidden()
                    .disabled(store.state.busy)
            }
        }
    }

    private func turn(_ on: Bool) {
        Task { await store.model.switchOn(on) }
    }
}
