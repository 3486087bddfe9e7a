import OsierKit
import OsierMobile
import SwiftUI
import UniformTypeIdentifiers

struct UsageScreen: View {
    @EnvironmentObject private var store: AppStore

    var body: some View {
        List {
            if let usage = store.state.usage, !usage.days.isEmpty {
                Section { UsageChart(days: UsageTable.lastDays(usage, 30)) } header: { Text(store.texts["usage.lead"]) }
                Section(store.texts["usage.tableLabel"]) {
                    ForEach(usage.days.reversed(), id: \.date) { row($0) }
                }
            } else {
                Text(store.texts[store.state.home?.status == nil ? "devices.off" : "usage.empty"])
            }
        }
        .navigationTitle(store.texts["usage.title"])
        .toolbar {
            if let usage = store.state.usage {
                ShareLink(item: TextFile(name: "osier-usage.csv", text: UsageTable.csv(usage)), preview: SharePreview("osier-usage.csv")) {
                    Label(store.texts["usage.export"], systemImage: "square.and.arrow.up")
                }
            }
        }
        // Usage is counted by day; once in a while is enough.
        .refreshes(.usage, store, every: 30)
    }

    private func row(_ day: UsageDay) -> some View {
        VStack(alignment: .leading) {
            Text(day.date).font(.headline)
            Fact(store.texts["usage.ownSent"], store.format.octets(day.ownSentOctets))
            Fact(store.texts["usage.ownReceived"], store.format.octets(day.ownReceivedOctets))
            Fact(store.texts["usage.carried"], store.format.octets(UsageTable.total(day).carried))
        }
    }
}

/// A text that goes to another app as a file.
struct TextFile: Transferable {
    let name: String
    let text: String

    static var transferRepresentation: some TransferRepresentation {
        FileRepresentation(exportedContentType: .utf8PlainText) { (file: TextFile) in
            let url = FileManager.default.temporaryDirectory.appendingPathComponent(file.name)
            try Data(file.text.utf8).write(to: url, options: [.atomic, .completeFileProtection])
            return SentTransferredFile(url)
        }
    }
}
