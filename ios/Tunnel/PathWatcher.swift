import Foundation
import Network
import OsierKit

/// Tells of the network beneath the tunnel, in order, as long as it lives.
final class PathWatcher {
    private let monitor = NWPathMonitor()
    private let telling: Task<Void, Never>

    init(tell: @escaping @Sendable (NetworkPath) async -> Void) {
        let (paths, found) = AsyncStream<NetworkPath>.makeStream(bufferingPolicy: .bufferingNewest(1))
        monitor.pathUpdateHandler = { path in
            // Neither this tunnel nor another one.
            let links = path.availableInterfaces.filter { $0.type != .other && $0.type != .loopback }
            let addresses = LinkAddresses.of(links.map(\.name))
            found.yield(NetworkPath(satisfied: path.status == .satisfied, addresses: addresses))
        }
        telling = Task {
            for await path in paths { await tell(path) }
        }
        monitor.start(queue: DispatchQueue(label: "org.osier.path"))
    }

    deinit {
        monitor.cancel()
        telling.cancel()
    }
}
