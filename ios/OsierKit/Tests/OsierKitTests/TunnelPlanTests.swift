import OsierMobile
import XCTest

@testable import OsierKit

final class TunnelPlanTests: XCTestCase {
    private func plan(
        _ address: String = "fd6f:7369:6572:1::1", _ addressLength: UInt8 = 128, _ route: String = "fd6f:7369:6572::",
        _ routeLength: UInt8 = 48, _ mtu: UInt16 = 1380
    ) throws -> TunnelPlan {
        try TunnelPlan(
            TunSettings(address: address, addressLength: addressLength, route: route, routeLength: routeLength, mtu: mtu))
    }

    func testOnlyTheNetworkGoesThroughTheTunnel() throws {
        let plan = try plan()
        XCTAssertEqual(plan.address, "fd6f:7369:6572:1::1")
        XCTAssertEqual(plan.addressLength, 128)
        XCTAssertEqual(plan.route, "fd6f:7369:6572::")
        XCTAssertEqual(plan.routeLength, 48)
        XCTAssertEqual(plan.mtu, 1380)
        XCTAssertEqual(plan.remote, plan.route)
    }

    func testSettingsThatCannotBeAreRefused() {
        func refuses(_ plan: @autoclosure () throws -> TunnelPlan, _ expected: PlanError, line: UInt = #line) {
            XCTAssertThrowsError(try plan(), line: line) { XCTAssertEqual($0 as? PlanError, expected, line: line) }
        }
        refuses(try plan("10.0.0.1"), .noAddress("10.0.0.1"))
        refuses(try plan("fd6f:7369:6572:1::1", 128, "nowhere"), .noAddress("nowhere"))
        refuses(try plan("fd6f:7369:6572:1::1", 129), .badLength)
        refuses(try plan("fd6f:7369:6572:1::1", 128, "::", 0), .tooWide(0))
        refuses(try plan("fd6f:7369:6573::1"), .addressOutside)
        refuses(try plan("fd6f:7369:6572:1::1", 128, "fd6f:7369:6572::", 48, 9000), .badMtu(9000))
    }

    func testPrefixesMayEndWithinAnOctet() throws {
        let prefix = try XCTUnwrap(IPv6("fd00:1230::"))
        XCTAssertTrue(try XCTUnwrap(IPv6("fd00:1237::1")).isIn(prefix, length: 29))
        XCTAssertFalse(try XCTUnwrap(IPv6("fd00:1238::1")).isIn(prefix, length: 29))
        XCTAssertTrue(prefix.isIn(prefix, length: 128))
    }
}
