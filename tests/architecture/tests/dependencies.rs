//! Who may depend on whom (docs/architecture.md), and under which licences.

use osier_architecture::{declared_dependencies, declared_dev_dependencies, metadata, packages};

/// A crate and those of our crates that it may use.
const EDGES: &[(&str, &[&str])] = &[
    ("osier-babel", &[]),
    ("osier-proto", &["osier-babel"]),
    ("osier-dataplane", &["osier-proto"]),
    ("osier-control", &[]),
    (
        "osier-core",
        &["osier-babel", "osier-control", "osier-proto", "osier-dataplane"],
    ),
    ("osier-registry", &["osier-proto"]),
    (
        "osier-cli",
        &["osier-babel", "osier-proto", "osier-core", "osier-registry"],
    ),
    // A phone's app: types and conversions.
    ("osier-mobile", &["osier-core"]),
    ("osier-mobile-bindgen", &[]),
    // A window: what it knows of a node is what the control API says.
    ("osier-desktop", &["osier-control"]),
    ("osier-desktop-mock", &[]),
    // Not of the core, but tests of all that is above `osier-proto` share it.
    ("osier-test-support", &["osier-proto"]),
];

/// What the tests of a crate may use of ours besides; nothing where it is not listed.
const TEST_EDGES: &[(&str, &[&str])] = &[
    ("osier-proto", &["osier-dataplane"]),
    ("osier-dataplane", &["osier-test-support"]),
    ("osier-desktop-mock", &["osier-control"]),
    ("osier-mobile", &["osier-registry"]),
    (
        "osier-core",
        &["osier-lab", "osier-registry", "osier-test-support"],
    ),
];

/// Everything else that a sans-IO crate may use.
const PURE: &[(&str, &[&str])] = &[
    (
        "osier-babel",
        &[
            "blake2",
            "hashbrown",
            "hmac",
            "ipnet",
            "sha2",
            "subtle",
            "thiserror",
            "zeroize",
        ],
    ),
    (
        "osier-proto",
        &[
            "base64",
            "blake3",
            "boringtun",
            "ed25519-dalek",
            "ipnet",
            "minicbor",
            "rand_chacha",
            "rand_core",
            // Ciphers; its randomness serves the WireGuard engine alone, see sources.rs.
            "ring",
            "serde",
            "siphasher",
            "sha2",
            "thiserror",
            "x25519-dalek",
            "zeroize",
        ],
    ),
    ("osier-dataplane", &["thiserror"]),
];

#[test]
fn our_crates_depend_only_downwards() {
    let metadata = metadata();
    for (package, allowed) in EDGES {
        for dependency in declared_dependencies(&metadata, package) {
            let ours = dependency.starts_with("osier-");
            assert!(
                !ours || allowed.contains(&dependency.as_str()),
                "{package} must not depend on {dependency}"
            );
        }
    }
}

#[test]
fn tests_of_our_crates_use_what_is_listed() {
    let metadata = metadata();
    for (package, _) in EDGES {
        let listed = TEST_EDGES.iter().filter(|(name, _)| name == package);
        let allowed: Vec<&str> = listed.flat_map(|(_, allowed)| *allowed).copied().collect();
        for dependency in declared_dev_dependencies(&metadata, package) {
            let ours = dependency.starts_with("osier-");
            assert!(
                !ours || allowed.contains(&dependency.as_str()),
                "tests of {package} must not use {dependency}: add it to TEST_EDGES on purpose"
            );
        }
    }
}

#[test]
fn every_core_crate_is_covered_by_the_rules() {
    let metadata = metadata();
    let core =
        packages(&metadata).filter(|p| p["manifest_path"].as_str().is_some_and(|m| m.contains("/core/")));
    let ours = core
        .filter_map(|p| p["name"].as_str())
        .filter(|n| n.starts_with("osier-"));
    for name in ours {
        assert!(
            EDGES.iter().any(|(n, _)| *n == name),
            "{name} has no rule: add it to EDGES"
        );
    }
}

#[test]
fn sans_io_crates_use_only_pure_libraries() {
    let metadata = metadata();
    for (package, allowed) in PURE {
        for dependency in declared_dependencies(&metadata, package) {
            let known = dependency.starts_with("osier-") || allowed.contains(&dependency.as_str());
            assert!(
                known,
                "{package} must not depend on {dependency}: is it free of IO, clocks and randomness?"
            );
        }
    }
}

#[test]
fn tls_is_ring_everywhere() {
    for package in packages(&metadata()) {
        let name = package["name"].as_str().unwrap_or_default();
        assert!(
            !matches!(name, "openssl-sys" | "aws-lc-sys" | "native-tls"),
            "{name} is in the tree"
        );
    }
}

/// A licence expression is fine when, alternative by alternative, one of them has only permissive terms.
#[test]
fn every_licence_in_the_tree_is_permissive() {
    const FINE: &[&str] = &[
        "0BSD",
        "Apache-2.0",
        "Apache-2.0 WITH LLVM-exception",
        "BlueOak-1.0.0",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "BSL-1.0",
        "CC0-1.0",
        "CDLA-Permissive-2.0",
        "ISC",
        "MIT",
        "MIT-0",
        "MPL-2.0",
        "Unicode-3.0",
        "Unlicense",
        "Zlib",
    ];
    for package in packages(&metadata()) {
        let name = &package["name"];
        let licence = package["license"]
            .as_str()
            .unwrap_or_default()
            .replace('/', " OR ");
        let licence = licence.replace(['(', ')'], "");
        let fine = licence
            .split(" AND ")
            .all(|term| term.split(" OR ").any(|l| FINE.contains(&l.trim())));
        assert!(fine, "{name} is under {licence:?}: not on the list in deny.toml");
    }
}
