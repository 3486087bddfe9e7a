import XCTest

@testable import OsierKit

final class OnDemandTests: XCTestCase {
    func testStartsInEveryNetworkAtFirst() {
        XCTAssertEqual(
            OnDemand().rules(switchedOn: true),
            [.init(.connect, .wiFi), .init(.connect, .cellular), .init(.ignore, .any)])
    }

    func testNothingStartsByItselfWhileSwitchedOff() {
        XCTAssertEqual(OnDemand().rules(switchedOn: false), [])
        XCTAssertEqual(OnDemand(enabled: false).rules(switchedOn: true), [])
    }

    func testExceptionsComeBeforeTheRuleForAllOthers() {
        let rules = OnDemand(exceptNetworks: [" at home ", ""]).rules(switchedOn: true)
        XCTAssertEqual(rules.first, OnDemandRule(.disconnect, .wiFi, networks: ["at home"]))
        XCTAssertEqual(rules.dropFirst().first, OnDemandRule(.connect, .wiFi))
    }

    func testNetworksThatAreNotWantedEndIt() {
        let rules = OnDemand(onWiFi: false, onCellular: false, exceptNetworks: ["at home"]).rules(switchedOn: true)
        XCTAssertEqual(rules, [.init(.disconnect, .wiFi), .init(.disconnect, .cellular), .init(.ignore, .any)])
    }

    func testAddressesOfAnInterfaceAreFound() {
        XCTAssertTrue(LinkAddresses.of(["lo"]).contains("127.0.0.1"))
        XCTAssertEqual(LinkAddresses.of([]), [])
        XCTAssertEqual(NetworkPath(satisfied: false, addresses: ["10.0.0.1"]).info.addresses, [])
    }
}
