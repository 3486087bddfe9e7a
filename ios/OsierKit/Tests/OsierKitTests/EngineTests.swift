import Foundation
import OsierMobile
import XCTest

@testable import OsierKit

final class EngineTests: XCTestCase {
    private let host = FakeHost()
    private let secrets = FakeSecrets()

    private func engine(_ state: ServiceState) -> (TunnelEngine, FakeSession) {
        let session = FakeSession(.example(state))
        return (TunnelEngine(session: session, host: host, secrets: secrets), session)
    }

    func testDeviceIsMadeOnceAndGivenToTheSession() async throws {
        let (engine, session) = engine(.running)
        try await engine.start(toJoin: false)
        session.happens(.serviceChanged(service: .example(.running)))
        session.happens(.neighbourUp(name: "paris"))
        try await until { try await happenings(engine) == 1 }
        let plans = await host.plans
        XCTAssertEqual(plans, [try TunnelPlan(.example)])
        XCTAssertEqual(session.calls.filter { $0.hasPrefix("tun") }, ["tun 101 1280"])
    }

    func testWhoeverStartsTheTunnelWantsTheNode() async throws {
        let (engine, session) = engine(.off)
        try await engine.start(toJoin: false)
        XCTAssertEqual(session.calls, ["switch true", "tun 101 1280"])
    }

    func testTunnelToNowhereDoesNotStart() async throws {
        let (engine, session) = engine(.notJoined)
        do {
            try await engine.start(toJoin: false)
            XCTFail("it started")
        } catch {
            XCTAssertEqual(error as? EngineError, .notJoined)
        }
        XCTAssertEqual(session.calls, [])
        try await engine.start(toJoin: true)
    }

    func testOtherSettingsMakeAnotherDevice() async throws {
        let (engine, session) = engine(.running)
        try await engine.start(toJoin: false)
        session.settings = TunSettings(address: "fd00:1::1", addressLength: 128, route: "fd00:1::", routeLength: 48, mtu: 1380)
        session.happens(.serviceChanged(service: .example(.running)))
        try await until { session.calls.contains("tun 102 1380") }
    }

    func testDeviceThatIsLostAtOnceIsGivenUp() async throws {
        let (engine, session) = engine(.running)
        try await engine.start(toJoin: false)
        session.happens(.deviceLost(reason: "another VPN"))
        try await until { await host.cancelled == ["another VPN"] }
        XCTAssertTrue(session.calls.contains("clear"))
        let made = await host.plans.count
        XCTAssertEqual(made, 1)
    }

    func testDeviceThatIsLostLaterIsMadeAnew() async throws {
        let session = FakeSession(.example(.running))
        let engine = TunnelEngine(session: session, host: host, secrets: secrets, shortest: .zero)
        try await engine.start(toJoin: false)
        session.happens(.deviceLost(reason: "gone"))
        try await until { session.calls.contains("tun 102 1280") }
        let cancelled = await host.cancelled
        XCTAssertEqual(cancelled, [])
    }

    func testTunnelThatCannotBeSetUpIsCancelled() async throws {
        let (engine, session) = engine(.notJoined)
        try await engine.start(toJoin: true)
        await host.refuse()
        session.happens(.serviceChanged(service: .example(.running)))
        try await until { await host.cancelled.count == 1 }
    }

    func testNetworkIsToldOnlyWhenItChanges() async {
        let (engine, session) = engine(.running)
        let path = NetworkPath(satisfied: true, addresses: ["10.0.0.1", "fe80::1%en0"])
        await engine.networkChanged(path)
        await engine.networkChanged(path)
        await engine.networkChanged(NetworkPath(satisfied: false, addresses: []))
        XCTAssertEqual(session.calls, ["network 10.0.0.1,fe80::1%en0", "network "])
    }

    func testAddressThatCannotBeReadLeavesTheLookToTheCore() async {
        let (engine, session) = engine(.running)
        session.failure = .Argument(why: Problem(code: "bad-request", text: "no address", fix: ""))
        await engine.networkChanged(NetworkPath(satisfied: true, addresses: ["?"]))
        XCTAssertEqual(session.calls, ["network ?", "network ?"])
        XCTAssertEqual(session.calls.count, 2)
    }

    func testInviteComesByTheKeychainAndGoesWhenUsed() async throws {
        let (engine, session) = engine(.notJoined)
        try await engine.start(toJoin: true)
        guard case .failed = await engine.answer(.join) else { return XCTFail("there was no invite") }
        _ = PendingJoin(invite: "osier://join/abc", name: "berlin").save(secrets)
        // The registry is away: the invite is still good.
        session.failure = .Registry(why: Problem(code: "registry-unreachable", text: "no", fix: ""))
        guard case .failed(let failure) = await engine.answer(.join) else { return XCTFail("it joined") }
        XCTAssertEqual(failure.kind, .registry)
        XCTAssertNotNil(PendingJoin.load(secrets))
        guard case .member(let member) = await engine.answer(.join) else { return XCTFail("it did not join") }
        XCTAssertEqual(member.network, "home")
        XCTAssertNil(PendingJoin.load(secrets))
        XCTAssertEqual(session.calls.last, "join osier://join/abc berlin")
    }

    func testInviteThatIsOfNoUseIsForgotten() async throws {
        let (engine, session) = engine(.notJoined)
        _ = PendingJoin(invite: "osier://join/abc", name: nil).save(secrets)
        session.failure = .Invite(why: Problem(code: "invite-used", text: "used", fix: ""))
        guard case .failed = await engine.answer(.join) else { return XCTFail("it joined") }
        XCTAssertNil(PendingJoin.load(secrets))
    }

    func testStatusIsAskedOnlyWhileANodeRuns() async throws {
        let (off, session) = engine(.off)
        guard case .home(let home) = await off.answer(.home) else { return XCTFail("no answer") }
        XCTAssertNil(home.status)
        XCTAssertEqual(session.calls, [])
        let (on, _) = engine(.running)
        guard case .home(let shown) = await on.answer(.home) else { return XCTFail("no answer") }
        XCTAssertEqual(shown.status, .example)
    }

    func testMessageThatCannotBeReadIsAnswered() async throws {
        let (engine, _) = engine(.running)
        let answer = await engine.answer(Data("nonsense".utf8))
        XCTAssertEqual(try Wire.decode(Reply.self, answer), .failed(.unreadable))
    }

    func testOnlyTheNewestHappeningsAreKept() async throws {
        let (engine, session) = engine(.running)
        try await engine.start(toJoin: false)
        for number in 1...60 { session.happens(.neighbourUp(name: "\(number)")) }
        session.happens(.neighbourDown(name: "last", reason: "silent"))
        var home: Home?
        try await until {
            if case .home(let newest) = await engine.answer(.home) { home = newest }
            return home?.happenings.last?.what == .down(name: "last", reason: "silent")
        }
        XCTAssertEqual(home?.happenings.count, 50)
    }

    func testStopEndsTheLoop() async throws {
        let (engine, session) = engine(.running)
        try await engine.start(toJoin: false)
        await engine.sleep()
        await engine.wake()
        await engine.stop()
        XCTAssertEqual(session.calls.suffix(3), ["sleep", "wake", "stop"])
    }

    private func happenings(_ engine: TunnelEngine) async throws -> Int {
        guard case .home(let home) = await engine.answer(.home) else { return -1 }
        return home.happenings.count
    }
}
