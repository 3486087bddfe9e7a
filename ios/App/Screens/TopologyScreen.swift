import OsierKit
import OsierMobile
import SwiftUI

struct TopologyScreen: View {
    @EnvironmentObject private var store: AppStore

    var body: some View {
        List {
            if let topology = store.state.topology, !topology.links.isEmpty {
                Section { drawing(topology) }
                Section(store.texts["topology.table"]) {
                    ForEach(Array(topology.links.enumerated()), id: \.offset) { row($0.element) }
                }
            } else {
                Text(store.texts[store.state.home?.status == nil ? "devices.off" : "topology.empty"])
            }
        }
        .navigationTitle(store.texts["topology.title"])
        .refreshes(.topology, store, every: 5)
    }

    private func drawing(_ topology: Topology) -> some View {
        let picture = TopologyPicture(topology)
        return Canvas { context, size in
            func place(_ point: TopologyPicture.Point) -> CGPoint {
                CGPoint(x: point.x * size.width, y: point.y * size.height)
            }
            for line in picture.lines {
                var path = Path()
                path.move(to: place(line.from))
                path.addLine(to: place(line.to))
                let style = StrokeStyle(lineWidth: line.tunnel ? 2 : 1, dash: line.tunnel ? [] : [4])
                context.stroke(path, with: .color(line.tunnel ? .accentColor : .secondary), style: style)
            }
            for dot in picture.dots {
                let middle = place(dot.place), radius = radius(dot.kind)
                let circle = CGRect(x: middle.x - radius, y: middle.y - radius, width: 2 * radius, height: 2 * radius)
                context.fill(Path(ellipseIn: circle), with: .color(colour(dot.kind)))
                let label = Text(label(dot)).font(.caption2)
                context.draw(label, at: CGPoint(x: middle.x, y: middle.y + radius + 2), anchor: .top)
            }
        }
        .frame(height: 360)
        .accessibilityLabel(
            store.texts[
                "topology.picture",
                ["nodes": "\(topology.nodes.count)", "tunnels": "\(topology.links.filter(\.tunnel).count)"]])
    }

    private func label(_ dot: TopologyPicture.Dot) -> String {
        if case .more(let count) = dot.kind { return "+\(count)" }
        return dot.name
    }

    private func radius(_ kind: TopologyPicture.Kind) -> CGFloat {
        switch kind {
        case .own: return 12
        case .near, .more: return 8
        case .far, .lost: return 5
        }
    }

    private func colour(_ kind: TopologyPicture.Kind) -> Color {
        switch kind {
        case .own, .near: return .accentColor
        case .far, .more: return .secondary
        case .lost: return .red
        }
    }

    private func row(_ link: TopologyLink) -> some View {
        LabeledContent {
            Text(link.cost.map { "\($0)" } ?? "")
        } label: {
            Text("\(link.from) – \(link.to)")
            Text(store.texts[link.tunnel ? "topology.tunnel" : "topology.behind"])
        }
    }
}
