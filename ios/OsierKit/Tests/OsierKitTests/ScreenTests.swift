import OsierMobile
import XCTest

@testable import OsierKit

final class ScreenTests: XCTestCase {
    func testInvitesAreLookedAtBeforeAnybodyIsAsked() {
        XCTAssertNil(Invite.complaint(" osier://join/ab\nC-_9 "))
        XCTAssertEqual(Invite.complaint("  "), "join.error.empty")
        XCTAssertEqual(Invite.complaint("https://example.org"), "join.error.notInvite")
        XCTAssertEqual(Invite.complaint("osier://join/"), "join.error.invalid")
        XCTAssertEqual(Invite.complaint("osier://join/a/b"), "join.error.invalid")
        XCTAssertEqual(Invite.complaint("osier://join/" + String(repeating: "a", count: 9000)), "join.error.invalid")
    }

    func testNames() {
        XCTAssertNil(Invite.nameComplaint(" adas-phone1 "))
        for bad in ["", "-a", "a-", "a b", "ä"] { XCTAssertEqual(Invite.nameComplaint(bad), "join.error.badName", bad) }
        XCTAssertEqual(Invite.nameComplaint(String(repeating: "a", count: 64)), "join.error.nameTooLong")
        XCTAssertEqual(Invite.suggestedName("Ada’s iPhone"), "adas-iphone")
        XCTAssertEqual(Invite.suggestedName("Zoë (2)"), "zoe-2")
        XCTAssertEqual(Invite.suggestedName("电话"), "phone")
        let long = Invite.suggestedName(String(repeating: "a", count: 62) + " b")
        XCTAssertNil(Invite.nameComplaint(long), long)
    }

    func testDevicesAreSearchedByEveryWord() {
        let devices: [Device] = [
            .example("paris", .direct), .example("berlin", .relayed, via: "paris"), .example("old-berlin", .unreachable),
        ]
        func names(_ search: String, _ filter: DeviceFilter) -> [String] {
            DeviceList.select(devices, search: search, filter: filter).map(\.name)
        }
        XCTAssertEqual(names("", .all), ["paris", "berlin", "old-berlin"])
        XCTAssertEqual(names("BERLIN old", .all), ["old-berlin"])
        XCTAssertEqual(names("6572:2", .relayed), ["berlin"])
        XCTAssertEqual(names("paris", .unreachable), [])
    }

    func testPingsAreSummedUp() {
        var pings = Pings()
        func reply(_ ms: Double, _ outcome: PingOutcome = .echo) -> PingReply {
            PingReply(from: "fd6f::1", name: nil, outcome: outcome, rttMs: ms)
        }
        pings.take(reply(4))
        pings.take(nil)
        pings.take(reply(6))
        pings.take(reply(1, .unreachable))
        XCTAssertEqual(pings.sent, 4)
        XCTAssertEqual(pings.received, 2)
        XCTAssertEqual([pings.min, pings.mean, pings.max], [4, 5, 6])
        XCTAssertEqual(pings.recent, [4, nil, 6, nil])
        for _ in 0..<100 { pings.take(reply(1)) }
        XCTAssertEqual(pings.recent.count, 48)
    }

    private let day = UsageDay(
        date: "2026-02-28", ownSentOctets: 1, ownReceivedOctets: 2, carriedSentOctets: 30, carriedReceivedOctets: 31)

    func testDaysWithoutTrafficAreShownAsSuch() {
        let days = UsageTable.lastDays(Usage(today: "2026-03-01", days: [day]), 3)
        XCTAssertEqual(days.map(\.date), ["2026-02-27", "2026-02-28", "2026-03-01"])
        XCTAssertEqual(days.map { UsageTable.total($0).own }, [0, 3, 0])
        XCTAssertEqual(UsageTable.total(day).carried, 31)
        XCTAssertEqual(UsageTable.lastDays(Usage(today: "never", days: []), 3), [])
    }

    func testUsageIsExported() {
        XCTAssertEqual(
            UsageTable.csv(Usage(today: "2026-03-01", days: [day])),
            "date,own_sent_octets,own_received_octets,carried_sent_octets,carried_received_octets\r\n2026-02-28,1,2,30,31\r\n")
    }

    func testTopologyIsDrawnAroundThisDevice() throws {
        func node(_ name: String, reachable: Bool = true) -> TopologyNode {
            TopologyNode(name: name, address: "", own: name == "me", reachable: reachable)
        }
        func link(_ from: String, _ to: String, tunnel: Bool) -> TopologyLink {
            TopologyLink(from: from, to: to, tunnel: tunnel, cost: nil)
        }
        let crowd = (0..<9).map { "c\($0)" }
        let topology = Topology(
            nodes: [node("me"), node("a"), node("b"), node("x"), node("gone", reachable: false)] + crowd.map { node($0) },
            links: [link("me", "a", tunnel: true), link("b", "me", tunnel: true), link("a", "x", tunnel: false)]
                + crowd.map { link("b", $0, tunnel: false) })
        let picture = TopologyPicture(topology)
        XCTAssertEqual(picture.dots.map(\.name), ["me", "a", "x", "b", "b", "gone"])
        XCTAssertEqual(picture.dots.map(\.kind), [.own, .near, .far, .near, .more(9), .lost])
        XCTAssertEqual(picture.lines.map(\.tunnel), [true, false, true, false])
        for place in picture.dots.map(\.place) {
            XCTAssertTrue((0...1).contains(place.x) && (0...1).contains(place.y))
        }
        XCTAssertEqual(Set(picture.dots.map { "\($0.place)" }).count, 6)
        XCTAssertEqual(TopologyPicture(Topology(nodes: [], links: [])).dots, [])
    }
}
