// swift-tools-version:5.9
// All of the app and of its extension that needs no framework of Apple's. `Generated` is written by ../generate.
import PackageDescription

#if os(Linux)
// The tests' library, which the linker finds by -L (see ../test).
let core = Target.systemLibrary(name: "OsierMobileFFI", path: "Generated/OsierMobileFFI")
#else
let core = Target.binaryTarget(name: "OsierMobileFFI", path: "Generated/OsierMobileFFI.xcframework")
#endif

let package = Package(
    name: "OsierKit",
    platforms: [.iOS(.v16), .macOS(.v13)],
    products: [.library(name: "OsierKit", targets: ["OsierKit", "OsierMobile"])],
    targets: [
        core,
        .target(
            name: "OsierMobile",
            dependencies: ["OsierMobileFFI"],
            path: "Generated/OsierMobile",
            linkerSettings: [
                .linkedLibrary("osier_mobile", .when(platforms: [.linux])),
                .linkedFramework("Security", .when(platforms: [.iOS, .macOS])),
                .linkedFramework("SystemConfiguration", .when(platforms: [.iOS, .macOS])),
            ]
        ),
        .target(name: "OsierKit", dependencies: ["OsierMobile"]),
        .testTarget(name: "OsierKitTests", dependencies: ["OsierKit"]),
        // In a network namespace with a real mesh: see ../test.
        .testTarget(name: "LabTests", dependencies: ["OsierKit"]),
    ]
)
