import AVFoundation
import SwiftUI
import UIKit

/// Reads a QR code by the camera.
struct ScannerScreen: View {
    @EnvironmentObject private var store: AppStore
    @Environment(\.dismiss) private var dismiss
    @State private var permitted: Bool?
    let found: (String) -> Void

    var body: some View {
        NavigationStack {
            Group {
                switch permitted {
                case true?: Camera(found: found).ignoresSafeArea()
                case false?: Text(store.texts["phone.ios.noCamera"]).padding()
                case nil: ProgressView()
                }
            }
            .toolbar { Button(store.texts["app.back"]) { dismiss() } }
        }
        .task { permitted = await AVCaptureDevice.requestAccess(for: .video) }
    }
}

private struct Camera: UIViewControllerRepresentable {
    let found: (String) -> Void

    func makeUIViewController(context: Context) -> CameraController { CameraController(found: found) }

    func updateUIViewController(_ controller: CameraController, context: Context) {}
}

private final class CameraController: UIViewController, AVCaptureMetadataOutputObjectsDelegate {
    private let session = AVCaptureSession()
    /// Starting and stopping take their time.
    private let queue = DispatchQueue(label: "org.osier.camera")
    private let found: (String) -> Void
    private var done = false

    init(found: @escaping (String) -> Void) {
        self.found = found
        super.init(nibName: nil, bundle: nil)
    }

    @available(*, unavailable)
    required init?(coder: NSCoder) { nil }

    override func viewDidLoad() {
        super.viewDidLoad()
        guard let camera = AVCaptureDevice.default(for: .video), let input = try? AVCaptureDeviceInput(device: camera),
            session.canAddInput(input)
        else { return }
        session.addInput(input)
        let output = AVCaptureMetadataOutput()
        guard session.canAddOutput(output) else { return }
        session.addOutput(output)
        output.setMetadataObjectsDelegate(self, queue: .main)
        output.metadataObjectTypes = [.qr]
        let preview = AVCaptureVideoPreviewLayer(session: session)
        preview.videoGravity = .resizeAspectFill
        view.layer.addSublayer(preview)
    }

    override func viewDidLayoutSubviews() {
        super.viewDidLayoutSubviews()
        view.layer.sublayers?.forEach { $0.frame = view.bounds }
    }

    override func viewWillAppear(_ animated: Bool) {
        super.viewWillAppear(animated)
        queue.async { [session] in session.startRunning() }
    }

    override func viewDidDisappear(_ animated: Bool) {
        super.viewDidDisappear(animated)
        queue.async { [session] in session.stopRunning() }
    }

    func metadataOutput(
        _ output: AVCaptureMetadataOutput, didOutput objects: [AVMetadataObject], from connection: AVCaptureConnection
    ) {
        guard !done, let code = objects.first as? AVMetadataMachineReadableCodeObject, let text = code.stringValue else { return }
        done = true
        found(text)
    }
}
