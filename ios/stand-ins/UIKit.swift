@_exported import Foundation

@MainActor open class UIDevice: NSObject {
    public static var current: UIDevice { fatalError() }
    public var name: String { fatalError() }
}

@MainActor open class CALayer: NSObject {
    public var frame: CGRect = .zero
    public var sublayers: [CALayer]?
    public func addSublayer(_ layer: CALayer) {}
}

@MainActor open class UIView: NSObject {
    public var layer: CALayer { fatalError() }
    public var bounds: CGRect { fatalError() }
}

@MainActor open class UIViewController: NSObject {
    public init(nibName: String?, bundle: Bundle?) {}
    public required init?(coder: NSCoder) {}
    public var view: UIView! { fatalError() }
    open func viewDidLoad() {}
    open func viewDidLayoutSubviews() {}
    open func viewWillAppear(_ animated: Bool) {}
    open func viewDidDisappear(_ animated: Bool) {}
}
