import Foundation

/// A real network: the registry and a node on the hub, and another node far away.
final class Mesh {
    let folder: URL
    private static let osier = ProcessInfo.processInfo.environment["OSIER_BINARY"]!
    private var started: [Running] = []
    private var url = ""

    init() throws {
        folder = FileManager.default.temporaryDirectory.appendingPathComponent("osier-\(UUID())")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        try execute([Self.osier, "network", "create", place("network"), "--name", "home"])
        let listen = "\(Machine.hub.address):0"
        let registry = try start(.hub, ["registry", "serve", "--json", "--dir", place("network"), "--listen", listen])
        url = "http://" + (try Self.field("address", of: registry.line("{")))
        for machine in Machine.allCases { try node(machine) }
    }

    func place(_ name: String) -> String { folder.appendingPathComponent(name).path }

    func invite() throws -> String {
        try Self.field("invite", of: execute([Self.osier, "invite", "--dir", place("network"), "--url", url, "--json"]))
    }

    /// The address in the mesh.
    func address(_ machine: Machine) throws -> String { try Self.field("address", of: on(machine, "status")) }

    func peers(_ machine: Machine) throws -> String { try on(machine, "peers") }

    func close() {
        started.reversed().forEach { $0.close() }
        try? FileManager.default.removeItem(at: folder)
    }

    private func node(_ machine: Machine) throws {
        let state = ["--state-dir", place(machine.rawValue)]
        try execute(machine.command([Self.osier, "join", "-", "--name", machine.rawValue] + state), input: invite())
        _ = try start(machine, ["up", "--no-upnp"] + state)
        try until("\(machine) answers") { (try? on(machine, "status")) != nil }
    }

    private func on(_ machine: Machine, _ command: String) throws -> String {
        try execute([Self.osier, command, "--json", "--state-dir", place(machine.rawValue)])
    }

    private func start(_ machine: Machine, _ command: [String]) throws -> Running {
        let running = try Running(machine.command([Self.osier] + command))
        started.append(running)
        return running
    }

    private static func field(_ name: String, of json: String) throws -> String {
        let pattern = try NSRegularExpression(pattern: "\"\(name)\": ?\"([^\"]*)\"")
        guard let match = pattern.firstMatch(in: json, range: NSRange(json.startIndex..., in: json)),
            let range = Range(match.range(at: 1), in: json)
        else { throw LabError(description: "no \(name) in \(json)") }
        return String(json[range])
    }
}
