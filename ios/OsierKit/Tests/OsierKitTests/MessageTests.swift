import Foundation
import OsierMobile
import XCTest

@testable import OsierKit

final class MessageTests: XCTestCase {
    func testRequestsArriveAsTheyWere() throws {
        let requests: [Request] = [
            .home, .join, .leave, .switchOn(false), .devices, .topology, .usage(days: 60), .checks, .supportBundle,
            .ping(target: "fd6f::1", limitMs: 2000),
        ]
        for request in requests {
            XCTAssertEqual(try Wire.decode(Request.self, Wire.encode(request)), request)
        }
    }

    func testRepliesArriveAsTheyWere() throws {
        let service = ServiceView.example(.running)
        let happened = Happening(time: Date(timeIntervalSince1970: 1000), what: .down(name: "paris", reason: "silent"))
        let health = Health(severity: .warning, code: "c", text: "t", fix: "f")
        let largest = UsageDay(
            date: "2026-03-01", ownSentOctets: .max, ownReceivedOctets: 0, carriedSentOctets: 1, carriedReceivedOctets: 2)
        let replies: [Reply] = [
            .home(Home(service: service, status: .example, health: [health], happenings: [happened])),
            .home(Home(service: .example(.notJoined), status: nil, health: [], happenings: [])),
            .member(service.member!), .service(service), .devices([.example("paris", .relayed, via: "hub")]),
            .topology(Topology(
                nodes: [TopologyNode(name: "a", address: "fd6f::1", own: true, reachable: true)],
                links: [TopologyLink(from: "a", to: "b", tunnel: true, cost: 96)])),
            .usage(Usage(today: "2026-03-01", days: [largest])),
            .checks([Check(name: "node", verdict: .warning, seen: "s", fix: nil)]), .supportBundle("all"),
            .ping(PingReply(from: "fd6f::1", name: "paris", outcome: .echo, rttMs: 0.25)), .ping(nil),
            .failed(.silent),
        ]
        for reply in replies {
            XCTAssertEqual(try Wire.decode(Reply.self, Wire.encode(reply)), reply)
        }
    }

    func testFailureKeepsWhatTheCoreSaid() {
        let why = Problem(code: "name-taken", text: "taken", fix: "choose another")
        XCTAssertEqual(Failure(.Name(why: why)), Failure(kind: .name, code: "name-taken", text: "taken", fix: "choose another"))
        XCTAssertEqual(Failure(.NotProtected(why: why)).kind, .notProtected)
    }

    func testInviteWaitsInTheKeychainUntilItIsUsed() {
        let secrets = FakeSecrets()
        XCTAssertNil(PendingJoin.load(secrets))
        let pending = PendingJoin(invite: "osier://join/abc", name: nil)
        XCTAssertTrue(pending.save(secrets))
        XCTAssertEqual(PendingJoin.load(secrets), pending)
        PendingJoin.forget(secrets)
        XCTAssertNil(PendingJoin.load(secrets))
    }
}
