import Foundation
import Glibc
import OsierMobile
import XCTest

@testable import OsierKit

/// The app, its extension and the core in a real mesh, with a real TUN device. Only the system between them is not real.
@MainActor
final class LabTests: XCTestCase {
    private static let phone = "10.77.0.1", elsewhere = "10.77.0.91"

    private var mesh: Mesh!
    private var platform: LabPlatform!
    private var watch: Watch!
    private var host: LabHost!
    private var secrets: MemorySecrets!
    private var link: LabLink!
    private var app: AppModel!

    override func setUp() async throws {
        mesh = try Mesh()
        (platform, host, secrets) = (LabPlatform(), LabHost(), MemorySecrets())
        watch = Watch()
        let config = SessionConfig(stateDir: mesh.place("phone"), log: "info")
        let (platform, host, secrets) = (platform!, host!, secrets!)
        link = LabLink(path: NetworkPath(satisfied: true, addresses: LinkAddresses.of(["eth0"]))) {
            TunnelEngine(session: try Session(config: config, platform: platform), host: host, secrets: secrets, shortest: .zero)
        }
        app = AppModel(link: link, secrets: secrets, settings: MemorySettings())
    }

    override func tearDown() async throws {
        await link.stop()
        watch.close()
        try until("all devices are gone") { try !LabHost.interfaces().contains("tun") }
        mesh.close()
        // Each test begins where the lab did.
        try execute(["ip", "address", "flush", "dev", "eth0"])
        try execute(["ip", "address", "add", "\(Self.phone)/24", "dev", "eth0"])
    }

    func testPacketsPassBothWaysAndEverySocketIsProtectedFirst() async throws {
        let before = try ownMemory()
        let plan = try await join()
        for machine in Machine.allCases {
            try pingBothWays(plan, machine)
            try tcpBothWays(plan, machine)
        }
        // An extension is ended at 50 MB, of which Swift and the system take their part; the tests' own counts here too.
        let grown = try ownMemory() - before
        XCTAssertLessThan(grown, 16_000)
        try await until("the state line says connected") {
            await app.refresh(.devices)
            return app.line().kind == .connected
        }
        XCTAssertEqual(app.state.devices.map(\.name).sorted(), ["far", "hub"])
        let far = try XCTUnwrap(app.state.devices.first { $0.name == "far" })
        await app.ping(far)
        XCTAssertEqual(app.state.pings[far.address]?.received, 1)
        await app.refresh(.usage)
        XCTAssertGreaterThan(try XCTUnwrap(app.state.usage?.days.first).ownReceivedOctets, 1_000_000)
        await app.refresh(.topology)
        XCTAssertEqual(app.state.topology?.nodes.count, 3)
        await app.check()
        XCTAssertEqual(app.state.checks?.first { $0.name == "round-trip" }?.verdict, .ok)
        let bundle = await app.supportBundle()
        XCTAssertTrue(try XCTUnwrap(bundle).contains(plan.address))
        XCTAssertEqual(app.state.failures, [:])
        XCTAssertTrue(platform.lines.contains { $0.level == .info && $0.text.contains("joined") })
        try everySocketWasProtected()

        let all = await link.rules
        XCTAssertEqual(all, OnDemand().rules(switchedOn: true))
        await app.switchOn(false)
        XCTAssertEqual(app.line().kind, .off)
        XCTAssertFalse(try LabHost.interfaces().contains("tun"))
        let none = await link.rules
        XCTAssertEqual(none, [])
        // As when the user turns it on in the system's settings.
        try await link.start(toJoin: false)
        try pingBothWays(plan, .far)
        let left = await app.leave()
        XCTAssertTrue(left)
        XCTAssertEqual(app.line().kind, .notJoined)
    }

    func testDeviceThatIsLostIsMadeAnew() async throws {
        let plan = try await join()
        try pingBothWays(plan, .far)
        // The system takes it away.
        try execute(["ip", "link", "delete", "tun0"])
        try await until("there is another") { await host.plans.count == 2 }
        try pingBothWays(plan, .far)
        let plans = await host.plans
        XCTAssertEqual(plans, [plan, plan])
        await app.refresh(.home)
        let happenings = try XCTUnwrap(app.state.home?.happenings)
        XCTAssertTrue(happenings.contains { if case .deviceLost = $0.what { true } else { false } })
        try everySocketWasProtected()
    }

    func testNetworkChangesDeviceSleepsAndWakesAndTunnelStops() async throws {
        let plan = try await join()
        let engine = await link.engine!
        try pingBothWays(plan, .hub)

        try execute(["ip", "address", "delete", "\(Self.phone)/24", "dev", "eth0"])
        try execute(["ip", "address", "add", "\(Self.elsewhere)/24", "dev", "eth0"])
        let addresses = LinkAddresses.of(["eth0"])
        XCTAssertTrue(addresses.contains(Self.elsewhere))
        await engine.networkChanged(NetworkPath(satisfied: true, addresses: addresses))
        try pingBothWays(plan, .hub)
        try until("the hub knows where the phone is") { try mesh.peers(.hub).contains("\(Self.elsewhere):") }

        try until("the registry is asked for news") { registryConnections() > 0 }
        await engine.sleep()
        try until("the registry is left alone") { registryConnections() == 0 }
        try pingBothWays(plan, .hub)
        await engine.wake()
        try until("the registry is asked again") { registryConnections() > 0 }
        try pingBothWays(plan, .hub)
        try everySocketWasProtected()

        await link.stop()
        XCTAssertFalse(try LabHost.interfaces().contains("tun"))
        XCTAssertEqual(Listed.all().filter { platform.protected[$0.inode] != nil }, [])
    }

    func testSocketThatIsRefusedIsNotUsed() async throws {
        platform.refuses = true
        let joined = await app.join(invite: try mesh.invite(), name: "phone")
        XCTAssertFalse(joined)
        XCTAssertEqual(app.state.failures[.join]?.kind, .notProtected)
        XCTAssertEqual(watch.outside(), [])
        platform.refuses = false
        _ = try await join()
    }

    private func join() async throws -> TunnelPlan {
        let joined = await app.join(invite: " \(try mesh.invite())\n", name: "phone")
        XCTAssertTrue(joined, "\(String(describing: app.state.failures))")
        XCTAssertNil(PendingJoin.load(secrets), "a used invite is forgotten")
        try await until("the tunnel is set up") { await !host.plans.isEmpty }
        let plan = await host.plans[0]
        await app.refresh(.home)
        XCTAssertEqual(plan.address, app.state.service.member?.address)
        return plan
    }

    private func everySocketWasProtected() throws {
        let outside = watch.outside(), protected = platform.protected
        let registry = Machine.hub.address.split(separator: ".").map { UInt8($0)! }
        XCTAssertTrue(outside.contains { $0.protocolName.hasPrefix("udp") }, "no UDP socket was seen")
        XCTAssertTrue(
            outside.contains { $0.protocolName.hasPrefix("tcp") && $0.remote.suffix(4) == registry[...] },
            "no connection to the registry was seen")
        XCTAssertEqual(outside.filter { protected[$0.inode] == nil }, [], "not protected")
        // Before anything could be sent: not even an address was chosen.
        XCTAssertEqual(protected.filter(\.value).map(\.key), [], "protected too late")
    }

    /// Kilobytes that no other process and no file holds.
    private func ownMemory() throws -> Int {
        let status = try String(contentsOfFile: "/proc/self/status", encoding: .utf8)
        let line = status.split(separator: "\n").first { $0.hasPrefix("RssAnon:") }
        return try XCTUnwrap(line?.split(whereSeparator: \.isWhitespace).dropFirst().first.flatMap { Int($0) })
    }

    private func registryConnections() -> Int {
        let registry = Machine.hub.address.split(separator: ".").map { UInt8($0)! }
        return Listed.all().filter { $0.protocolName.hasPrefix("tcp") && $0.remote.suffix(4) == registry[...] }.count
    }

    private func pingBothWays(_ plan: TunnelPlan, _ machine: Machine) throws {
        let there = try mesh.address(machine)
        let ping = ["ping", "-6", "-n", "-c", "1", "-W", "1"]
        try until("\(machine) answers pings") { try succeeds(ping + [there]) }
        try until("pings of \(machine) are answered") { try succeeds(machine.command(ping + [plan.address])) }
        // Once there is a way, none gets lost.
        let three = ["ping", "-6", "-n", "-c", "3", "-i", "0.2", "-W", "2"]
        XCTAssertTrue(try execute(three + [there]).contains(", 0% packet loss"))
        XCTAssertTrue(try execute(machine.command(three + [plan.address])).contains(", 0% packet loss"))
    }

    /// A megabyte out and back, over a connection that was opened here, and over one that was opened there.
    private func tcpBothWays(_ plan: TunnelPlan, _ machine: Machine) throws {
        let there = try mesh.address(machine)
        for (server, client, address) in [
            (machine.command(Self.echo + [there]), Self.exchange, there),
            (Self.echo + [plan.address], machine.command(Self.exchange), plan.address),
        ] {
            let server = try Running(server)
            defer { server.close() }
            let port = try server.line("port ").dropFirst(5)
            XCTAssertEqual(try execute(client + [address, String(port)]), "the same came back\n")
        }
    }

    /// Sends back what comes over one connection.
    private static let echo = [
        "python3", "-c",
        """
        import socket, sys
        server = socket.create_server((sys.argv[1], 0), family=socket.AF_INET6)
        print('port', server.getsockname()[1], flush=True)
        connection = server.accept()[0]
        while data := connection.recv(65536):
            connection.sendall(data)
        connection.close()
        """,
    ]

    private static let exchange = [
        "python3", "-c",
        """
        import os, socket, sys, threading
        sent = os.urandom(1 << 20)
        connection = socket.create_connection((sys.argv[1], int(sys.argv[2])), 20)
        def send():
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
        threading.Thread(target=send).start()
        received = b''
        while data := connection.recv(65536):
            received += data
        print('the same came back' if received == sent else 'other octets came back')
        """,
    ]
}
