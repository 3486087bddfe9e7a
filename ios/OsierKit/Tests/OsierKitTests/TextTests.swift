import Foundation
import OsierMobile
import XCTest

@testable import OsierKit

/// With the real catalogue, as `mobile-bindings/texts` writes it.
final class TextTests: XCTestCase {
    private func catalogue() throws -> Texts {
        let folder = try XCTUnwrap(ProcessInfo.processInfo.environment["OSIER_TEXTS"])
        return try Texts(json: Data(contentsOf: URL(fileURLWithPath: folder).appendingPathComponent("en.json")))
    }

    private func line(_ kind: StateKind, neighbours: UInt64 = 8, daysLeft: Int64 = 20, verified: UInt64? = 12) -> StateLine {
        StateLine(
            kind: kind, face: .connected, on: true, network: "home", neighbours: neighbours, wanted: 10, daysLeft: daysLeft,
            verifiedSeconds: verified, verifiedWith: "paris")
    }

    func testEveryStateHasAWholeText() throws {
        let texts = try catalogue()
        let kinds: [StateKind] = [
            .notJoined, .joining, .off, .stopping, .starting, .failed, .revoked, .certificateExpired, .offline, .udpBlocked,
            .alone, .looking, .certificateExpires, .registryUnreachable, .relayed, .connected,
        ]
        var lines: Set<String> = []
        for kind in kinds {
            let text = StateText(line(kind), texts)
            for part in [text.line, text.detail] {
                XCTAssertFalse(part.isEmpty || part.contains("{") || part.hasPrefix("state"), "\(kind): \(part)")
            }
            lines.insert(text.line)
        }
        XCTAssertEqual(lines.count, kinds.count)
    }

    func testTextsSayWhatTheStateSpeaksOf() throws {
        let texts = try catalogue()
        XCTAssertEqual(StateText(line(.connected), texts).line, "Connected, 8 neighbours")
        XCTAssertEqual(StateText(line(.connected, neighbours: 1), texts).line, "Connected, 1 neighbour")
        XCTAssertTrue(StateText(line(.connected), texts).detail.hasPrefix("Last answer 12 seconds ago, from paris."))
        XCTAssertEqual(StateText(line(.looking, neighbours: 2), texts).line, "Looking for neighbours (2 of 10)…")
        XCTAssertEqual(StateText(line(.certificateExpires, daysLeft: 0), texts).line, "Certificate expires today")
        XCTAssertTrue(StateText(line(.certificateExpires, verified: nil), texts).detail.contains("No answer"))
        XCTAssertTrue(StateText(line(.off), texts).detail.contains("home"))
    }

    func testStateOfTheCoreIsShown() throws {
        let texts = try catalogue()
        let running = ServiceView.example(.running)
        let fresh = StateText(stateLine(service: running, status: .example, ageMs: 0), texts)
        XCTAssertEqual(fresh.line, "Connected, 8 neighbours")
        // The same answer a minute later is no word on now.
        let old = StateText(stateLine(service: running, status: .example, ageMs: 60_000), texts)
        XCTAssertEqual(old.line, "Looking for neighbours (8 of 10)…")
    }

    func testFormat() throws {
        let format = Format(try catalogue())
        XCTAssertEqual(
            [0, 999, 1000, 1_234_567, 99_950_000, 999_499_999, 999_500_000, 5_000_000_000_000_000].map(format.octets),
            ["0 B", "999 B", "1.00 kB", "1.23 MB", "100 MB", "999 MB", "1.00 GB", "5000 TB"])
        XCTAssertEqual(
            [0, 1, 59, 60, 3599, 3600, 86_399, 86_400, 200_000].map(format.duration),
            ["0 seconds", "1 second", "59 seconds", "1 minute", "59 minutes", "1 hour", "23 hours", "1 day", "2 days"])
        XCTAssertEqual([0.256, 12.34, 123.4].map(format.milliseconds), ["0.26", "12.3", "123"])
        XCTAssertEqual(format.sentence("it runs"), "It runs")
    }

    func testValuesAreNoTemplates() throws {
        let texts = try Texts(json: Data(#"{"a": "{x} and {y} and {z}"}"#.utf8))
        XCTAssertEqual(texts["a", ["x": "{y}", "y": "1"]], "{y} and 1 and {z}")
        XCTAssertEqual(texts["missing"], "missing")
        XCTAssertEqual(texts.counted("missing", UInt64(2)), "missing")
    }

    func testRefusalsHaveTheirTexts() throws {
        let texts = try catalogue()
        func text(_ code: String) -> String {
            Invite.refusal(Failure(kind: .invite, code: code, text: "it broke", fix: "mend it"), name: "berlin", texts)
        }
        XCTAssertEqual(text("invite-expired"), "The invite has expired. Ask for a new one.")
        XCTAssertTrue(text("name-taken").contains("berlin"))
        XCTAssertEqual(text("new-code"), "Joining failed: it broke. mend it")
    }
}
