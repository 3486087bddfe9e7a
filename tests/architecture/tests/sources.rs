//! What the sources must not contain.

#![allow(clippy::unwrap_used)]

use osier_architecture::{code_lines, files, root};
use std::fs;

/// Tokens that mean a clock, a socket, a thread, a file, OS randomness, or an order that changes from run to run.
const IMPURE: &[&str] = &[
    "Instant::now",
    "SystemTime",
    "std::time::Instant",
    "UdpSocket",
    "TcpStream",
    "TcpListener",
    "std::thread",
    "thread::spawn",
    "tokio",
    "OsRng",
    "getrandom",
    "thread_rng",
    "rand::rng",
    "std::fs",
    "std::env",
    "std::process",
    "cfg(target_os",
    "cfg(unix)",
    "HashMap",
    "HashSet",
    "println!",
];

/// boringtun reads the clock and the system's randomness inside, so one module alone may name it.
const ENGINE: &str = "core/proto/src/tunnel/wireguard.rs";
/// Part of the engine: keys that are told through its sessions, drawn with ring.
const ENGINE_KEYS: &str = "core/proto/src/tunnel/data_keys.rs";

fn each_line(folder: &str, mut check: impl FnMut(&str, usize, &str)) {
    let root = root();
    for path in files(&root.join(folder), &[".rs"]) {
        let source = fs::read_to_string(&path).unwrap();
        let name = path.strip_prefix(&root).unwrap().display().to_string();
        code_lines(&source).for_each(|(number, line)| check(&name, number, line));
    }
}

#[test]
fn sans_io_crates_name_no_clock_socket_thread_or_randomness() {
    for folder in ["core/babel/src", "core/proto/src", "core/dataplane/src"] {
        each_line(folder, |file, number, line| {
            for token in IMPURE {
                let engine =
                    file == ENGINE && matches!(*token, "std::time::Instant" | "Instant::now" | "SystemTime");
                assert!(
                    engine || !line.contains(token),
                    "{file}:{number} names {token}: {line}"
                );
            }
        });
    }
}

#[test]
fn only_the_engine_module_names_boringtun() {
    for folder in ["core", "tests/sim", "tests/e2e"] {
        each_line(folder, |file, number, line| {
            assert!(
                file == ENGINE || !line.contains("boringtun::"),
                "{file}:{number} names boringtun: {line}"
            );
        });
    }
}

#[test]
fn only_the_engine_names_ring_in_protocol_crates() {
    for folder in ["core/babel/src", "core/proto/src", "core/dataplane/src"] {
        each_line(folder, |file, number, line| {
            assert!(
                file == ENGINE_KEYS || !line.contains(" ring::"),
                "{file}:{number} names ring: {line}"
            );
        });
    }
}

/// An embedder must see every socket towards the outside before it is used.
#[test]
fn one_module_of_the_shell_opens_its_sockets() {
    const OPENERS: &[&str] = &[
        "Socket::new(",
        "UdpSocket::bind",
        "TcpStream::connect",
        "TcpSocket::new_v",
        "reqwest::",
    ];
    each_line("core/node/src", |file, number, line| {
        // The bridge to Babel's routers is no part of a node, and in no VPN.
        let may = file == "core/node/src/sockets.rs" || file.starts_with("core/node/src/babel_mode/");
        for opener in OPENERS {
            assert!(
                may || !line.contains(opener),
                "{file}:{number} opens a socket that no embedder sees: {line}"
            );
        }
    });
}

#[test]
fn files_can_be_read_in_one_sitting() {
    for folder in ["core", "mobile-bindings", "tests"] {
        for path in files(&root().join(folder), &[".rs"]) {
            let lines = fs::read_to_string(&path).unwrap().lines().count();
            assert!(
                lines <= 800,
                "{} has {lines} lines: split it by idea",
                path.display()
            );
        }
    }
}

#[test]
fn nothing_is_left_undone_or_skipped() {
    let marks = ["todo!(", "unimplemented!(", "#[ignore"];
    for folder in [
        "core",
        "mobile-bindings",
        "tests/conformance",
        "tests/e2e",
        "tests/explore",
        "tests/interop",
        "tests/sim",
        "tests/fuzz",
        "tests/lab",
        "tests/support",
    ] {
        each_line(folder, |file, number, line| {
            for mark in marks {
                assert!(!line.contains(mark), "{file}:{number} is left undone: {line}");
            }
        });
    }
}

/// Absolute paths of the machine that something was written on do not belong into a repository.
#[test]
fn no_file_names_a_path_of_one_machine() {
    let endings = [".rs", ".md", ".toml", ".sh", "Makefile", "run", ".json"];
    let prefixes = ["/wor", "/far", "/roo"].map(|start| match start {
        "/wor" => format!("{start}k/"),
        "/far" => format!("{start}m/"),
        _ => format!("{start}t/."),
    });
    for path in files(&root(), &endings) {
        let Ok(text) = fs::read_to_string(&path) else {
            continue;
        };
        for prefix in &prefixes {
            assert!(
                !text.contains(prefix.as_str()),
                "{} names {prefix}",
                path.display()
            );
        }
    }
}
