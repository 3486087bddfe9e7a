@_exported import Foundation
import UIKit
import UniformTypeIdentifiers

// What views are made of.

@MainActor @preconcurrency public protocol View {
    associatedtype Body: View
    @ViewBuilder var body: Body { get }
}

extension Never: View {
    public var body: Never { fatalError() }
}

extension Optional: View where Wrapped: View {
    public var body: Never { fatalError() }
}

public struct Piece: View {
    public nonisolated init() {}
    public var body: Never { fatalError() }
}

@resultBuilder public enum ViewBuilder {
    public static func buildBlock<V: View>(_ view: V) -> V { view }
    public static func buildBlock<each V: View>(_ views: repeat each V) -> Piece { Piece() }
    public static func buildIf<V: View>(_ view: V?) -> V? { view }
    public static func buildEither(first view: some View) -> Piece { Piece() }
    public static func buildEither(second view: some View) -> Piece { Piece() }
}

@MainActor @preconcurrency public protocol Scene {}

@resultBuilder public enum SceneBuilder {
    public static func buildBlock<S: Scene>(_ scene: S) -> S { scene }
}

@MainActor @preconcurrency public protocol App {
    associatedtype Body: Scene
    @SceneBuilder var body: Body { get }
    init()
}

extension App {
    public static func main() {}
}

public struct WindowGroup: Scene {
    public init<C: View>(@ViewBuilder content: () -> C) {}
}

@MainActor @preconcurrency public protocol UIViewControllerRepresentable: View where Body == Never {
    associatedtype Controller: UIViewController
    typealias Context = RepresentableContext
    func makeUIViewController(context: Context) -> Controller
    func updateUIViewController(_ controller: Controller, context: Context)
}

extension UIViewControllerRepresentable {
    public var body: Never { fatalError() }
}

public struct RepresentableContext {}

// State.

public protocol ObservableObject: AnyObject {}

@propertyWrapper public struct Published<Value> {
    public init(wrappedValue: Value) { self.wrappedValue = wrappedValue }
    public var wrappedValue: Value
}

@propertyWrapper public struct State<Value> {
    public init(wrappedValue: Value) {}
    public var wrappedValue: Value {
        get { fatalError() }
        nonmutating set {}
    }
    public var projectedValue: Binding<Value> { fatalError() }
}

@MainActor @preconcurrency @propertyWrapper public struct StateObject<Object: ObservableObject> {
    public init(wrappedValue: @autoclosure @escaping () -> Object) {}
    public var wrappedValue: Object { fatalError() }
}

@MainActor @preconcurrency @propertyWrapper public struct EnvironmentObject<Object: ObservableObject> {
    public nonisolated init() {}
    public var wrappedValue: Object { fatalError() }
}

@propertyWrapper public struct Binding<Value> {
    public init(get: @escaping () -> Value, set: @escaping (Value) -> Void) {}
    public var wrappedValue: Value {
        get { fatalError() }
        nonmutating set {}
    }
}

public enum ScenePhase: Sendable { case background, inactive, active }

@MainActor public struct DismissAction {
    public func callAsFunction() {}
}

public struct EnvironmentValues {
    public var scenePhase: ScenePhase { fatalError() }
    public var dismiss: DismissAction { fatalError() }
}

@propertyWrapper public struct Environment<Value> {
    public init(_ key: KeyPath<EnvironmentValues, Value>) {}
    public var wrappedValue: Value { fatalError() }
}

// Styles.

public struct Color: View, ShapeStyle, Sendable {
    public static let red = Color(), orange = Color(), green = Color(), blue = Color(), secondary = Color()
    public static let accentColor = Color()
    public var body: Never { fatalError() }
}

public protocol ShapeStyle {}
public struct HierarchicalShapeStyle: ShapeStyle {}
extension ShapeStyle where Self == HierarchicalShapeStyle {
    public static var secondary: HierarchicalShapeStyle { HierarchicalShapeStyle() }
}
extension ShapeStyle where Self == Color {
    public static var red: Color { .red }
}

public struct Font: Sendable {
    public static let body = Font(), headline = Font(), subheadline = Font(), footnote = Font(), caption2 = Font()
    public func monospaced() -> Font { self }
}

public enum HorizontalAlignment: Sendable { case leading, center, trailing }
public enum VerticalAlignment: Sendable { case top, center, bottom }
public enum TextAlignment: Sendable { case leading, center, trailing }
public enum Visibility: Sendable { case automatic, visible, hidden }
public enum Axis: Sendable { case horizontal, vertical }
public struct ButtonRole: Sendable {
    public static let destructive = ButtonRole(), cancel = ButtonRole()
}
public struct TextInputAutocapitalization: Sendable {
    public static let never = TextInputAutocapitalization()
}
public enum PickerStyles: Sendable { case segmented }
public enum Selectability: Sendable { case enabled }
public enum AccessibilityChildren: Sendable { case combine }
public enum UnitPoint: Sendable { case top }

// Views.

public struct Text: View {
    public enum DateStyle: Sendable { case time }
    public init(_ text: String) {}
    public init(_ date: Date, style: DateStyle) {}
    public func font(_ font: Font) -> Text { self }
    public var body: Never { fatalError() }
}

public struct Image: View {
    public init(systemName: String) {}
    public var body: Never { fatalError() }
}

public struct Spacer: View {
    public init() {}
    public var body: Never { fatalError() }
}

public struct ProgressView: View {
    public init() {}
    public var body: Never { fatalError() }
}

public struct Label: View {
    public init(_ title: String, systemImage: String) {}
    public init<T: View, I: View>(@ViewBuilder title: () -> T, @ViewBuilder icon: () -> I) {}
    public var body: Never { fatalError() }
}

public struct LabeledContent: View {
    public init<C: View>(_ title: String, @ViewBuilder content: () -> C) {}
    public init<C: View, L: View>(@ViewBuilder content: () -> C, @ViewBuilder label: () -> L) {}
    public var body: Never { fatalError() }
}

public struct VStack: View {
    public init<C: View>(alignment: HorizontalAlignment = .center, spacing: CGFloat? = nil, @ViewBuilder content: () -> C) {}
    public var body: Never { fatalError() }
}

public struct HStack: View {
    public init<C: View>(alignment: VerticalAlignment = .center, spacing: CGFloat? = nil, @ViewBuilder content: () -> C) {}
    public var body: Never { fatalError() }
}

public struct Group: View {
    public init<C: View>(@ViewBuilder content: () -> C) {}
    public var body: Never { fatalError() }
}

public struct List: View {
    public init<C: View>(@ViewBuilder content: () -> C) {}
    public var body: Never { fatalError() }
}

public struct Form: View {
    public init<C: View>(@ViewBuilder content: () -> C) {}
    public var body: Never { fatalError() }
}

public struct Section: View {
    public init<C: View>(@ViewBuilder content: () -> C) {}
    public init<C: View>(_ title: String, @ViewBuilder content: () -> C) {}
    public init<C: View, H: View>(@ViewBuilder content: () -> C, @ViewBuilder header: () -> H) {}
    public init<C: View, F: View>(@ViewBuilder content: () -> C, @ViewBuilder footer: () -> F) {}
    public init<C: View, H: View, F: View>(
        @ViewBuilder content: () -> C, @ViewBuilder header: () -> H, @ViewBuilder footer: () -> F) {}
    public var body: Never { fatalError() }
}

public struct ForEach: View {
    public init<D: RandomAccessCollection, ID: Hashable, C: View>(
        _ data: D, id: KeyPath<D.Element, ID>, @ViewBuilder content: @escaping (D.Element) -> C) {}
    public var body: Never { fatalError() }
}

public struct NavigationStack: View {
    public init<C: View>(@ViewBuilder root: () -> C) {}
    public var body: Never { fatalError() }
}

public struct NavigationLink: View {
    public init<D: View, L: View>(@ViewBuilder destination: () -> D, @ViewBuilder label: () -> L) {}
    public var body: Never { fatalError() }
}

public struct TabView: View {
    public init<C: View>(@ViewBuilder content: () -> C) {}
    public var body: Never { fatalError() }
}

public struct Button: View {
    public init(_ title: String, action: @escaping @MainActor () -> Void) {}
    public init(_ title: String, role: ButtonRole?, action: @escaping @MainActor () -> Void) {}
    public init<L: View>(action: @escaping @MainActor () -> Void, @ViewBuilder label: () -> L) {}
    public var body: Never { fatalError() }
}

public struct Toggle: View {
    public init(_ title: String, isOn: Binding<Bool>) {}
    public var body: Never { fatalError() }
}

public struct TextField: View {
    public init(_ title: String, text: Binding<String>, axis: Axis = .horizontal) {}
    public var body: Never { fatalError() }
}

public struct Picker: View {
    public init<V: Hashable, C: View>(_ title: String, selection: Binding<V>, @ViewBuilder content: () -> C) {}
    public var body: Never { fatalError() }
}

public struct PeriodicTimelineSchedule {
    public static func periodic(from start: Date, by seconds: TimeInterval) -> PeriodicTimelineSchedule { .init() }
}

public struct TimelineView: View {
    public struct Context {}
    public init<C: View>(_ schedule: PeriodicTimelineSchedule, @ViewBuilder content: @escaping (Context) -> C) {}
    public var body: Never { fatalError() }
}

// Sharing.

public protocol TransferRepresentation {}

public protocol Transferable {
    associatedtype Representation: TransferRepresentation
    static var transferRepresentation: Representation { get }
}

extension String: Transferable {
    public struct AsText: TransferRepresentation {}
    public static var transferRepresentation: AsText { AsText() }
}

public struct SentTransferredFile: Sendable {
    public init(_ file: URL) {}
}

public struct FileRepresentation<Item>: TransferRepresentation {
    public init(exportedContentType: UTType, exporting: @escaping @Sendable (Item) async throws -> SentTransferredFile) {}
}

public struct SharePreview {
    public init(_ title: String) {}
}

public struct ShareLink: View {
    public init<I: Transferable>(item: I, preview: SharePreview) {}
    public init<I: Transferable, L: View>(item: I, preview: SharePreview, @ViewBuilder label: () -> L) {}
    public var body: Never { fatalError() }
}

public struct PasteButton: View {
    public init<T: Transferable>(payloadType: T.Type, onPaste: @escaping ([T]) -> Void) {}
    public var body: Never { fatalError() }
}

// Drawing.

public struct Path {
    public init() {}
    public init(ellipseIn rect: CGRect) {}
    public mutating func move(to point: CGPoint) {}
    public mutating func addLine(to point: CGPoint) {}
}

public struct StrokeStyle {
    public init(lineWidth: CGFloat = 1, dash: [CGFloat] = []) {}
}

public struct GraphicsContext {
    public struct Shading {
        public static func color(_ color: Color) -> Shading { Shading() }
    }
    public func stroke(_ path: Path, with shading: Shading, style: StrokeStyle) {}
    public func fill(_ path: Path, with shading: Shading) {}
    public func draw(_ text: Text, at point: CGPoint, anchor: UnitPoint) {}
}

public struct Canvas: View {
    public init(renderer: @escaping (inout GraphicsContext, CGSize) -> Void) {}
    public var body: Never { fatalError() }
}

// Modifiers.

extension View {
    public func accessibilityElement(children: AccessibilityChildren) -> some View { Piece() }
    public func accessibilityLabel(_ label: String) -> some View { Piece() }
    public func autocorrectionDisabled() -> some View { Piece() }
    public func confirmationDialog<A: View>(
        _ title: String, isPresented: Binding<Bool>, titleVisibility: Visibility, @ViewBuilder actions: () -> A
    ) -> some View { Piece() }
    public func disabled(_ disabled: Bool) -> some View { Piece() }
    public func environmentObject(_ object: some ObservableObject) -> some View { Piece() }
    public func font(_ font: Font?) -> some View { Piece() }
    public func foregroundStyle(_ style: some ShapeStyle) -> some View { Piece() }
    public func frame(height: CGFloat) -> some View { Piece() }
    public func ignoresSafeArea() -> some View { Piece() }
    public func labelsHidden() -> some View { Piece() }
    public func multilineTextAlignment(_ alignment: TextAlignment) -> some View { Piece() }
    public func navigationTitle(_ title: String) -> some View { Piece() }
    public func onAppear(perform: @escaping @MainActor () -> Void) -> some View { Piece() }
    public func onChange<V: Equatable>(of value: V, perform: @escaping @MainActor (V) -> Void) -> some View { Piece() }
    public func onDisappear(perform: @escaping @MainActor () -> Void) -> some View { Piece() }
    public func onOpenURL(perform: @escaping @MainActor (URL) -> Void) -> some View { Piece() }
    public func onSubmit(_ action: @escaping @MainActor () -> Void) -> some View { Piece() }
    public func padding() -> some View { Piece() }
    public func pickerStyle(_ style: PickerStyles) -> some View { Piece() }
    public func searchable(text: Binding<String>, prompt: String) -> some View { Piece() }
    public func sheet<C: View>(isPresented: Binding<Bool>, @ViewBuilder content: @escaping () -> C) -> some View { Piece() }
    public func tabItem<L: View>(@ViewBuilder _ label: () -> L) -> some View { Piece() }
    public func tag(_ value: some Hashable) -> some View { Piece() }
    public func task(_ action: @escaping @MainActor () async -> Void) -> some View { Piece() }
    public func task(id: some Equatable, _ action: @escaping @MainActor () async -> Void) -> some View { Piece() }
    public func textInputAutocapitalization(_ kind: TextInputAutocapitalization?) -> some View { Piece() }
    public func textSelection(_ kind: Selectability) -> some View { Piece() }
    public func toolbar<C: View>(@ViewBuilder content: () -> C) -> some View { Piece() }
}
