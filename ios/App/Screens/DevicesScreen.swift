import OsierKit
import OsierMobile
import SwiftUI

struct DevicesScreen: View {
    @EnvironmentObject private var store: AppStore
    @State private var search = ""
    @State private var filter = DeviceFilter.all

    var body: some View {
        let all = store.state.devices
        let shown = DeviceList.select(all, search: search, filter: filter)
        List {
            Picker(store.texts["devices.filter"], selection: $filter) {
                ForEach(DeviceFilter.allCases, id: \.self) { Text(store.texts["devices.filters.\($0.rawValue)"]).tag($0) }
            }
            .pickerStyle(.segmented)
            Section {
                ForEach(shown, id: \.address) { device in
                    NavigationLink { DeviceScreen(address: device.address) } label: { row(device) }
                }
            } footer: {
                Text(footer(all.count, shown.count))
            }
        }
        .searchable(text: $search, prompt: store.texts["devices.searchHint"])
        .navigationTitle(store.texts["devices.title"])
        .refreshes(.devices, store)
    }

    private func footer(_ all: Int, _ shown: Int) -> String {
        if store.state.home?.status == nil { return store.texts["devices.off"] }
        if all == 0 { return store.texts["phone.ios.noDevices"] }
        if shown == 0 { return store.texts["devices.noMatch"] }
        return store.texts.counted("devices.shown", Int64(shown), ["total": "\(all)"])
    }

    private func row(_ device: Device) -> some View {
        HStack {
            VStack(alignment: .leading) {
                Text(device.name)
                Text(DeviceList.path(device, store.texts)).font(.footnote).foregroundStyle(.secondary)
            }
            Spacer()
            if let ms = device.rttMs {
                Text(store.texts["devices.rtt", ["ms": store.format.milliseconds(ms)]]).foregroundStyle(.secondary)
            }
        }
    }
}

struct DeviceScreen: View {
    @EnvironmentObject private var store: AppStore
    @State private var pinging = false
    let address: String

    var body: some View {
        List {
            if let device = store.state.devices.first(where: { $0.address == address }) {
                facts(device)
                ping(device).task(id: pinging) {
                    while pinging, !Task.isCancelled {
                        await store.model.ping(device)
                        try? await Task.sleep(for: .seconds(1))
                    }
                }
            }
        }
        .navigationTitle(store.state.devices.first { $0.address == address }?.name ?? address)
        .refreshes(.devices, store)
        .onDisappear { store.model.forgetPings() }
    }

    private func facts(_ device: Device) -> some View {
        Section(store.texts["device.facts"]) {
            Fact(store.texts["device.address"], device.address)
            Fact(store.texts["devices.column.path"], DeviceList.path(device, store.texts))
            if let ms = device.rttMs {
                Fact(store.texts["devices.column.rtt"], store.texts["devices.rtt", ["ms": store.format.milliseconds(ms)]])
            }
            Fact(store.texts["device.sent"], store.format.octets(device.sentOctets))
            Fact(store.texts["device.received"], store.format.octets(device.receivedOctets))
        }
    }

    private func ping(_ device: Device) -> some View {
        let pings = store.state.pings[device.address] ?? Pings()
        return Section(store.texts["device.ping"]) {
            Text(pings.text(store.texts, store.format))
            if pings.sent > 0 { PingChart(pings: pings) }
            Button(store.texts[pinging ? "device.pingStop" : "device.pingStart"]) { pinging.toggle() }
            FailureNotice(.ping, "device.pingFailed")
        }
    }
}
