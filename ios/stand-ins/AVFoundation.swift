@_exported import Foundation
import UIKit

public struct AVMediaType: Sendable {
    public static let video = AVMediaType()
}

public final class AVCaptureDevice: NSObject, @unchecked Sendable {
    public static func requestAccess(for type: AVMediaType) async -> Bool { false }
    public static func `default`(for type: AVMediaType) -> AVCaptureDevice? { nil }
}

open class AVCaptureInput: NSObject {}
open class AVCaptureOutput: NSObject {}
public final class AVCaptureConnection: NSObject {}

public final class AVCaptureDeviceInput: AVCaptureInput {
    public init(device: AVCaptureDevice) throws {}
}

public final class AVCaptureSession: NSObject, @unchecked Sendable {
    public func canAddInput(_ input: AVCaptureInput) -> Bool { false }
    public func addInput(_ input: AVCaptureInput) {}
    public func canAddOutput(_ output: AVCaptureOutput) -> Bool { false }
    public func addOutput(_ output: AVCaptureOutput) {}
    public func startRunning() {}
    public func stopRunning() {}
}

open class AVMetadataObject: NSObject {
    public struct ObjectType: Sendable {
        public static let qr = ObjectType()
    }
}

public final class AVMetadataMachineReadableCodeObject: AVMetadataObject {
    public var stringValue: String? { nil }
}

@MainActor @preconcurrency public protocol AVCaptureMetadataOutputObjectsDelegate: AnyObject {
    func metadataOutput(
        _ output: AVCaptureMetadataOutput, didOutput metadataObjects: [AVMetadataObject], from connection: AVCaptureConnection)
}

public final class AVCaptureMetadataOutput: AVCaptureOutput {
    public var metadataObjectTypes: [AVMetadataObject.ObjectType]!
    public func setMetadataObjectsDelegate(_ delegate: AVCaptureMetadataOutputObjectsDelegate?, queue: DispatchQueue?) {}
}

public struct AVLayerVideoGravity: Sendable {
    public static let resizeAspectFill = AVLayerVideoGravity()
}

@MainActor public final class AVCaptureVideoPreviewLayer: CALayer {
    public init(session: AVCaptureSession) {}
    public var videoGravity = AVLayerVideoGravity.resizeAspectFill
}
