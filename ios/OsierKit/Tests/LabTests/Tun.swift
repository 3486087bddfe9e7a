import Foundation
import Glibc
import OsierKit

/// What a packet tunnel provider is on a phone: it makes devices by the plan. Here they are Linux's own, without headers
/// before packets, with an address and a route.
actor LabHost: TunnelHost {
    private(set) var plans: [TunnelPlan] = []
    private(set) var cancelled: [String] = []

    func establish(_ plan: TunnelPlan) throws -> Int32 {
        let name = "tun\(plans.count)"
        let fd = try Self.device(name)
        try execute(["ip", "link", "set", name, "mtu", "\(plan.mtu)", "up"])
        try execute(["ip", "address", "add", "\(plan.address)/\(plan.addressLength)", "dev", name, "nodad"])
        try execute(["ip", "route", "replace", "\(plan.route)/\(plan.routeLength)", "dev", name])
        plans.append(plan)
        return fd
    }

    func cancel(_ reason: String) { cancelled.append(reason) }

    private static func device(_ name: String) throws -> Int32 {
        let setInterface: UInt = 0x4004_54ca, withoutHeaders: Int16 = 0x1001
        let fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC)
        guard fd >= 0 else { throw LabError(description: "cannot open /dev/net/tun: \(errno)") }
        var request = [UInt8](repeating: 0, count: 40)
        request.replaceSubrange(0..<name.utf8.count, with: name.utf8)
        withUnsafeBytes(of: withoutHeaders) { request.replaceSubrange(16..<18, with: $0) }
        guard ioctl(fd, setInterface, &request) == 0 else {
            let error = errno
            close(fd)
            throw LabError(description: "cannot make \(name): \(error)")
        }
        return fd
    }

    static func interfaces() throws -> String { try execute(["ip", "-o", "link"]) }
}
