import OsierKit
import SwiftUI
import UIKit

struct JoinScreen: View {
    @EnvironmentObject private var store: AppStore
    @State private var invite = ""
    @State private var name = Invite.suggestedName(UIDevice.current.name)
    @State private var scanning = false
    /// Nothing is complained about before the first try.
    @State private var tried = false
    @State private var hint: String?

    var body: some View {
        Form {
            Section {
                TextField(store.texts["join.invite"], text: $invite, axis: .vertical)
                    .textInputAutocapitalization(.never)
                    .autocorrectionDisabled()
                    .font(.body.monospaced())
                complaint(Invite.complaint(invite))
                PasteButton(payloadType: String.self) { pasted in
                    Task { @MainActor in take(pasted.first ?? "", hint: nil) }
                }
                Button { scanning = true } label: { Label(store.texts["phone.ios.scan"], systemImage: "qrcode.viewfinder") }
            } header: {
                Text(store.texts["join.lead"])
            } footer: {
                Text(hint ?? store.texts["join.inviteHint"])
            }
            Section {
                TextField(store.texts["join.name"], text: $name)
                    .textInputAutocapitalization(.never)
                    .autocorrectionDisabled()
                complaint(Invite.nameComplaint(name))
            } header: {
                Text(store.texts["join.name"])
            } footer: {
                Text(store.texts["phone.ios.nameHint"])
            }
            Section {
                Button(action: join) {
                    if store.state.busy { ProgressView() } else { Text(store.texts["join.submit"]) }
                }
                .disabled(store.state.busy)
                if tried, let failure = store.state.failures[.join] {
                    Notice(
                        image: "exclamationmark.triangle.fill", colour: .orange,
                        text: Invite.refusal(failure, name: name, store.texts), fix: nil)
                }
            } footer: {
                Text(store.texts["phone.ios.permission"])
            }
        }
        .navigationTitle(store.texts["join.title"])
        .sheet(isPresented: $scanning) {
            ScannerScreen { code in
                scanning = false
                take(code, hint: Invite.complaint(code) == nil ? "join.qrFound" : "join.qrOther")
            }
        }
        .onAppear(perform: takeOpened)
        .onChange(of: store.opened) { _ in takeOpened() }
        .refreshes(.join, store)
    }

    @ViewBuilder private func complaint(_ key: String?) -> some View {
        if tried, let key {
            Text(store.texts[key, ["count": "\(name.count)"]]).font(.footnote).foregroundStyle(.red)
        }
    }

    private func takeOpened() {
        guard let link = store.opened else { return }
        store.opened = nil
        take(link, hint: "join.fromLink")
    }

    private func take(_ text: String, hint key: String?) {
        invite = Invite.tidy(text)
        hint = key.map { store.texts[$0] }
    }

    private func join() {
        tried = true
        guard Invite.complaint(invite) == nil, Invite.nameComplaint(name) == nil else { return }
        Task {
            if await store.model.join(invite: invite, name: name) { await store.model.refresh(.home) }
        }
    }
}
