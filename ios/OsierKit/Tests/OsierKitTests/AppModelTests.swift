import OsierMobile
import XCTest

@testable import OsierKit

@MainActor
final class AppModelTests: XCTestCase {
    private let secrets = FakeSecrets()
    private let settings = FakeSettings()

    private func app(_ state: ServiceState) -> (AppModel, FakeLink) {
        let link = FakeLink(.example(state), secrets: secrets)
        return (AppModel(link: link, secrets: secrets, settings: settings), link)
    }

    func testNothingIsAskedWhileTheTunnelIsOff() async {
        let (app, link) = app(.running)
        await app.refresh(.devices)
        let sent = await link.sent
        XCTAssertEqual(sent, [])
        XCTAssertEqual(app.line().kind, .notJoined)
    }

    func testOnlyWhatAScreenShowsIsAsked() async {
        let (app, link) = app(.running)
        await app.switchOn(true)
        await app.refresh(.settings)
        await app.refresh(.devices)
        await app.refresh(.usage)
        await app.refresh(.topology)
        let sent = await link.sent
        XCTAssertEqual(sent, [.home, .home, .home, .devices, .home, .usage(days: 60), .home, .topology])
        XCTAssertEqual(app.state.devices.count, 1)
        XCTAssertEqual(app.line().kind, .connected)
    }

    func testJoinAsksForPermissionStartsAndThenStartsByItself() async {
        let (app, link) = app(.notJoined)
        let joined = await app.join(invite: "osier://join/ab c\n", name: " berlin ")
        XCTAssertTrue(joined)
        let calls = await link.calls
        XCTAssertEqual(calls, ["configure 0", "start to join", "configure 3"])
        XCTAssertEqual(link.session.calls.first, "join osier://join/abc berlin")
        XCTAssertFalse(app.state.busy)
    }

    func testJoinThatFailsLeavesNoTunnelBehind() async {
        let (app, link) = app(.notJoined)
        link.session.failure = .Name(why: Problem(code: "name-taken", text: "taken", fix: "choose another"))
        let joined = await app.join(invite: "osier://join/abc", name: "berlin")
        XCTAssertFalse(joined)
        XCTAssertEqual(app.state.failures[.join]?.kind, .name)
        let calls = await link.calls
        XCTAssertEqual(calls.last, "stop")
    }

    func testJoinWithoutAKeychainIsToldBeforeAnythingStarts() async {
        let locked = FakeSecrets(locked: true)
        let link = FakeLink(.example(.notJoined), secrets: locked)
        let app = AppModel(link: link, secrets: locked, settings: settings)
        let joined = await app.join(invite: "osier://join/abc", name: "berlin")
        XCTAssertFalse(joined)
        XCTAssertEqual(app.state.failures[.join], .noKeychain)
        let calls = await link.calls
        XCTAssertEqual(calls, [])
    }

    func testSwitchOffIsRememberedAndNothingStartsByItself() async {
        let (app, link) = app(.running)
        await app.switchOn(true)
        await app.refresh(.devices)
        await app.switchOn(false)
        XCTAssertEqual(app.state.devices, [])
        let calls = await link.calls
        XCTAssertEqual(calls, ["configure 3", "start", "configure 0", "stop"])
        XCTAssertEqual(link.session.calls.filter { $0.hasPrefix("switch") }, ["switch false"])
        XCTAssertEqual(app.line().kind, .off)
        XCTAssertEqual(app.line().network, "home")
        // In the next run of the app too.
        let next = AppModel(link: link, secrets: secrets, settings: settings)
        XCTAssertEqual(next.line().kind, .off)
    }

    func testLeaveStartsTheTunnelThatKnowsTheKeys() async {
        let (app, link) = app(.off)
        let left = await app.leave()
        XCTAssertTrue(left)
        let calls = await link.calls
        XCTAssertEqual(calls, ["start", "configure 0", "stop"])
        XCTAssertTrue(link.session.calls.contains("leave"))
        await app.refresh(.home)
        XCTAssertEqual(app.line().kind, .notJoined)
    }

    func testTunnelThatDoesNotAnswerIsTold() async {
        let (app, link) = app(.running)
        await app.switchOn(true)
        await link.becomeDeaf()
        await app.refresh(.home)
        XCTAssertEqual(app.state.failures[.refresh], .silent)
        XCTAssertNil(app.state.failures[.switchOn])
    }

    func testOnDemandIsKeptAndToldToTheSystem() async {
        let (app, link) = app(.running)
        await app.switchOn(true)
        await app.choose(OnDemand(exceptNetworks: ["at home"]))
        let calls = await link.calls
        XCTAssertEqual(calls.last, "configure 4")
        XCTAssertEqual(settings.onDemand.exceptNetworks, ["at home"])
    }

    func testPingsAreCountedByDevice() async {
        let (app, _) = app(.running)
        await app.switchOn(true)
        await app.ping(.example("paris", .direct))
        await app.ping(.example("paris", .direct))
        XCTAssertEqual(app.state.pings["fd6f:7369:6572:2::1"]?.received, 2)
        app.forgetPings()
        XCTAssertEqual(app.state.pings, [:])
    }

    func testChecksAndBundleComeFromTheCore() async {
        let (app, _) = app(.running)
        await app.switchOn(true)
        await app.check()
        XCTAssertEqual(app.state.checks?.first?.name, "node")
        let bundle = await app.supportBundle()
        XCTAssertEqual(bundle, "all of it")
    }

    func testStartIsWaitedFor() async {
        func verdict(_ states: [TunnelState], _ seconds: Int = 0) -> StartWatch.Verdict {
            var watch = StartWatch(), last = StartWatch.Verdict.wait
            for state in states { last = watch.take(state, after: .seconds(seconds)) }
            return last
        }
        XCTAssertEqual(verdict([.off, .connecting, .on]), .up)
        // The end before, or not begun yet.
        XCTAssertEqual(verdict([.stopping, .off]), .wait)
        XCTAssertEqual(verdict([.off], 6), .failed)
        XCTAssertEqual(verdict([.connecting, .off]), .failed)
        XCTAssertEqual(verdict([.connecting], 30), .wait)
        XCTAssertEqual(verdict([.connecting], 61), .failed)
    }
}
