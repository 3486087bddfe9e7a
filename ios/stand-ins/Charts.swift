@_exported import Foundation
import SwiftUI

public protocol Plottable {}
extension Int: Plottable {}
extension UInt64: Plottable {}
extension Double: Plottable {}
extension String: Plottable {}

public struct PlottableValue<Value: Plottable> {
    public static func value(_ label: String, _ value: Value) -> PlottableValue { fatalError() }
}

public protocol ChartContent {}
extension Optional: ChartContent where Wrapped: ChartContent {}
extension ChartContent {
    public func foregroundStyle<D: Plottable>(by value: PlottableValue<D>) -> some ChartContent { self }
}

@resultBuilder public enum ChartContentBuilder {
    public struct Built: ChartContent {}
    public static func buildBlock<each C: ChartContent>(_ content: repeat each C) -> Built { Built() }
    public static func buildIf<C: ChartContent>(_ content: C?) -> C? { content }
}

public struct BarMark: ChartContent {
    public init<X: Plottable, Y: Plottable>(x: PlottableValue<X>, y: PlottableValue<Y>) {}
}

public struct Chart: View {
    public init<Data: RandomAccessCollection, ID: Hashable, C: ChartContent>(
        _ data: Data, id: KeyPath<Data.Element, ID>, @ChartContentBuilder content: @escaping (Data.Element) -> C) {}
    public var body: Never { fatalError() }
}

public protocol AxisMark {}
public struct AxisGridLine: AxisMark { public init() {} }
public struct AxisValueLabel: AxisMark {
    public init<Content: View>(@ViewBuilder content: () -> Content) {}
}
public struct AxisValue {
    public func `as`<P: Plottable>(_ type: P.Type) -> P? { nil }
}

@resultBuilder public enum AxisMarkBuilder {
    public struct Built: AxisMark {}
    public static func buildBlock<each M: AxisMark>(_ marks: repeat each M) -> Built { Built() }
}

public struct AxisMarks {
    public init<C: AxisMark>(@AxisMarkBuilder content: @escaping (AxisValue) -> C) {}
}

@resultBuilder public enum AxisContentBuilder {
    public static func buildBlock(_ marks: AxisMarks) -> AxisMarks { marks }
}

extension View {
    public func chartXAxis(_ visibility: Visibility) -> some View { Piece() }
    public func chartYAxis(@AxisContentBuilder content: () -> AxisMarks) -> some View { Piece() }
}
