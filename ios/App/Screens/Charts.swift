import Charts
import OsierKit
import OsierMobile
import SwiftUI

/// Round trips of the last pings; a gap is one that was lost.
struct PingChart: View {
    @EnvironmentObject private var store: AppStore
    let pings: Pings

    var body: some View {
        Chart(Array(pings.recent.enumerated()), id: \.offset) { ping in
            if let ms = ping.element {
                BarMark(x: .value("ping", ping.offset), y: .value("ms", ms))
            }
        }
        .chartXAxis(.hidden)
        .frame(height: 120)
        .accessibilityLabel(store.texts["device.pingChart", ["count": "\(pings.recent.count)"]])
    }
}

struct UsageChart: View {
    @EnvironmentObject private var store: AppStore
    let days: [UsageDay]

    var body: some View {
        Chart(days, id: \.date) { day in
            let total = UsageTable.total(day)
            let own = store.texts["usage.legendOwn"], carried = store.texts["usage.legendCarried"]
            BarMark(x: .value("day", day.date), y: .value("octets", total.own)).foregroundStyle(by: .value("kind", own))
            BarMark(x: .value("day", day.date), y: .value("octets", total.carried)).foregroundStyle(by: .value("kind", carried))
        }
        .chartXAxis(.hidden)
        .chartYAxis {
            AxisMarks { value in
                AxisGridLine()
                AxisValueLabel { Text(store.format.octets(value.as(UInt64.self) ?? 0)) }
            }
        }
        .frame(height: 200)
        .accessibilityLabel(store.texts["usage.chart", ["count": "\(days.count)"]])
    }
}
