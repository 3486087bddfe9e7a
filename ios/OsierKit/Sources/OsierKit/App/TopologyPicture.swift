import Foundation
import OsierMobile

/// Where to draw whom: ourselves in the middle, neighbours around, and behind each neighbour those it leads to. Places are
/// parts of the picture's width and height.
public struct TopologyPicture: Equatable, Sendable {
    public struct Point: Equatable, Sendable {
        public let x, y: Double
    }

    public enum Kind: Equatable, Sendable {
        case own
        /// A tunnel of ours leads there.
        case near
        /// Somewhere behind a neighbour.
        case far
        case lost
        /// So many that have no room.
        case more(Int)
    }

    public struct Dot: Equatable, Sendable {
        public let name: String
        public let kind: Kind
        public let place: Point
    }

    public struct Line: Equatable, Sendable {
        public let from, to: Point
        public let tunnel: Bool
    }

    public private(set) var dots: [Dot] = []
    public private(set) var lines: [Line] = []

    /// More dots than these behind one neighbour become unreadable.
    static let mostBehind = 8

    public init(_ topology: Topology) {
        guard let own = topology.nodes.first(where: \.own) else { return }
        let branches = Self.branches(topology)
        let deep = branches.contains { !$0.children.isEmpty }
        let weights = branches.map { Double(max(1, $0.children.count)) }
        let turn = 2 * Double.pi / max(1, weights.reduce(0, +))
        let middle = Point(x: 0.5, y: 0.5)
        dots.append(Dot(name: own.name, kind: .own, place: middle))
        // From the top.
        var turned = -Double.pi / 2
        for (branch, weight) in zip(branches, weights) {
            let share = weight * turn
            // Those that nobody leads to stand outside, unlinked.
            let place = Self.at(turned + share / 2, branch.kind == .lost ? 0.9 : deep ? 0.55 : 0.8)
            dots.append(Dot(name: branch.name, kind: branch.kind, place: place))
            if branch.kind == .near { lines.append(Line(from: middle, to: place, tunnel: true)) }
            for (i, child) in branch.children.enumerated() {
                let end = Self.at(turned + (Double(i) + 0.5) * share / Double(branch.children.count), 0.9)
                dots.append(Dot(name: child.name, kind: child.kind, place: end))
                lines.append(Line(from: place, to: end, tunnel: false))
            }
            turned += share
        }
    }

    private struct Branch {
        let name: String
        let kind: Kind
        var children: [(name: String, kind: Kind)] = []
    }

    private static func at(_ angle: Double, _ reach: Double) -> Point {
        Point(x: 0.5 + 0.5 * reach * cos(angle), y: 0.5 + 0.5 * reach * sin(angle))
    }

    private static func branches(_ topology: Topology) -> [Branch] {
        let ownName = topology.nodes.first(where: \.own)?.name
        var near: [String] = []
        var behind: [String: [String]] = [:]
        for link in topology.links {
            let other = link.from == ownName ? link.to : link.from
            if !link.tunnel {
                behind[link.from, default: []].append(link.to)
            } else if !near.contains(other) {
                near.append(other)
            }
        }
        var branches = near.map { name -> Branch in
            let names = (behind[name] ?? []).filter { !near.contains($0) }
            let fits = names.count <= mostBehind
            return Branch(
                name: name, kind: .near, children: fits ? names.map { ($0, .far) } : [(name, .more(names.count))])
        }
        let lost = topology.nodes.filter { !$0.own && !$0.reachable }
        if lost.count <= mostBehind { branches += lost.map { Branch(name: $0.name, kind: .lost) } }
        return branches
    }
}
