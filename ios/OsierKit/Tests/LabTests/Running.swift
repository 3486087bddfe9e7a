import Foundation
import XCTest

/// The machines of the lab (see android/core-tests/in-lab); the tests themselves run on the phone.
enum Machine: String, CaseIterable {
    case hub, far

    var address: String { self == .hub ? "10.77.0.2" : "10.77.0.3" }

    func command(_ command: [String]) -> [String] { ["nsenter", "--net=/run/netns/\(rawValue)"] + command }
}

struct LabError: Error, CustomStringConvertible {
    let description: String
}

/// A program with what it has said.
final class Running {
    private let process = Process()
    private let lock = NSLock()
    private var said = Data()
    private let ended = DispatchSemaphore(value: 0)
    private let command: [String]

    init(_ command: [String], input: String = "") throws {
        self.command = command
        let output = Pipe(), typed = Pipe()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = command
        process.standardOutput = output
        process.standardError = output
        process.standardInput = typed
        try process.run()
        Thread.detachNewThread { [self] in
            while case let data = output.fileHandleForReading.availableData, !data.isEmpty {
                lock.withLock { said += data }
            }
            ended.signal()
        }
        try typed.fileHandleForWriting.write(contentsOf: Data(input.utf8))
        try typed.fileHandleForWriting.close()
    }

    var output: String { lock.withLock { String(decoding: said, as: UTF8.self) } }

    /// The first whole line that begins like this.
    func line(_ start: String) throws -> String {
        var found: String?
        try until("\(command) says \(start)") {
            let lines = output.components(separatedBy: "\n")
            found = lines.dropLast().first { $0.hasPrefix(start) }
            if found == nil, !process.isRunning { throw LabError(description: "\(command) ended: \(output)") }
            return found != nil
        }
        return found!
    }

    /// What it has said when it has ended, and how.
    func end() -> (status: Int32, output: String) {
        ended.wait()
        process.waitUntilExit()
        return (process.terminationStatus, output)
    }

    func close() {
        process.terminate()
        _ = end()
    }
}

/// What a command says; it must succeed.
@discardableResult
func execute(_ command: [String], input: String = "") throws -> String {
    let (status, output) = try Running(command, input: input).end()
    guard status == 0 else { throw LabError(description: "\(command): \(status)\n\(output)") }
    return output
}

func succeeds(_ command: [String]) throws -> Bool { try Running(command).end().status == 0 }

/// Looks until it is so; half a minute at most.
func until(_ what: String, _ condition: () throws -> Bool) throws {
    let deadline = Date() + 30
    while try !condition() {
        guard Date() < deadline else { throw LabError(description: "\(what): it takes too long") }
        usleep(20_000)
    }
}

func until(_ what: String, _ condition: () async throws -> Bool) async throws {
    let deadline = Date() + 30
    while try await !condition() {
        guard Date() < deadline else { throw LabError(description: "\(what): it takes too long") }
        try await Task.sleep(nanoseconds: 20_000_000)
    }
}
