import OsierKit
import OsierMobile
import SwiftUI

struct DiagnosticsScreen: View {
    @EnvironmentObject private var store: AppStore
    @State private var bundle: String?

    var body: some View {
        List {
            Section {
                Button(store.texts[store.state.busy ? "diagnostics.running" : "diagnostics.run"]) { check() }
                    .disabled(store.state.busy)
                FailureNotice(.check, "diagnostics.failed")
            } header: {
                Text(store.texts["diagnostics.lead"])
            } footer: {
                Text(summary)
            }
            Section(store.texts["diagnostics.list"]) {
                ForEach(store.state.checks ?? [], id: \.name) { row($0) }
            }
            lately
            Section {
                FailureNotice(.bundle, "app.saveFailed")
                if let bundle {
                    ShareLink(
                        item: TextFile(name: "osier-support.txt", text: bundle), preview: SharePreview("osier-support.txt"))
                } else {
                    Button(store.texts["diagnostics.bundle"]) { Task { bundle = await store.model.supportBundle() } }
                }
            } footer: {
                Text(store.texts["diagnostics.bundleHint"])
            }
        }
        .navigationTitle(store.texts["diagnostics.title"])
        .refreshes(.diagnostics, store, every: 5)
        .task { await store.model.check() }
    }

    private func check() {
        Task { await store.model.check() }
    }

    private var summary: String {
        guard let checks = store.state.checks else { return "" }
        let bad = checks.filter { $0.verdict != .ok }.count
        return bad == 0 ? store.texts["diagnostics.allGood"] : store.texts.counted("diagnostics.summary", Int64(bad))
    }

    private func row(_ check: Check) -> some View {
        let (image, colour): (String, Color)
        switch check.verdict {
        case .ok: (image, colour) = ("checkmark.circle.fill", .green)
        case .warning: (image, colour) = ("exclamationmark.triangle.fill", .orange)
        case .error: (image, colour) = ("xmark.octagon.fill", .red)
        }
        let name = store.texts["diagnostics.names.\(check.name)"]
        let fix = check.fix.map { store.texts["diagnostics.fix", ["fix": store.format.sentence($0)]] }
        return Notice(image: image, colour: colour, text: "\(name): \(check.seen)", fix: fix)
    }

    @ViewBuilder private var lately: some View {
        let happenings = store.state.home?.happenings ?? []
        if !happenings.isEmpty {
            Section(store.texts["phone.ios.lately"]) {
                ForEach(Array(happenings.suffix(10).reversed().enumerated()), id: \.offset) { entry in
                    LabeledContent {
                        Text(entry.element.time, style: .time)
                    } label: {
                        Text(entry.element.text(store.texts))
                    }
                }
            }
        }
    }
}
