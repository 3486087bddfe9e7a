import Darwin
import OsierKit

/// The tunnel's device. The system opens it in this process before it asks for settings, and has no call that gives it.
enum Utun {
    /// <sys/sys_domain.h> and <net/if_utun.h>, which are not in the SDK for phones.
    private static let control: Int32 = 2
    private static let interfaceName: Int32 = 2

    /// A descriptor of our own, of the device that has the plan's address: the session closes it, and the system keeps its.
    static func descriptor(of plan: TunnelPlan) -> Int32? {
        let devices = (0...Int32(1024)).compactMap { fd in name(fd).map { (fd: fd, name: $0) } }
        let ours = devices.first { LinkAddresses.of([$0.name]).contains(plan.address) } ?? devices.last
        guard let ours else { return nil }
        let copy = fcntl(ours.fd, F_DUPFD_CLOEXEC, 0)
        return copy < 0 ? nil : copy
    }

    private static func name(_ fd: Int32) -> String? {
        var name = [CChar](repeating: 0, count: Int(IFNAMSIZ))
        var length = socklen_t(name.count)
        guard getsockopt(fd, control, interfaceName, &name, &length) == 0 else { return nil }
        let text = String(cString: name)
        return text.hasPrefix("utun") ? text : nil
    }
}
