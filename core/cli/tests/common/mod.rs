//! Running the real program.

#![allow(dead_code, unreachable_pub)] // each test program uses its part

use serde_json::Value;
use std::{
    ffi::OsStr,
    io::Write,
    path::Path,
    process::{Command, Output, Stdio},
};

/// `osier` without whatever the surroundings would tell it.
pub fn osier() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_osier"));
    for name in [
        "OSIER_STATE_DIR",
        "OSIER_REGISTRY_DIR",
        "OSIER_LOG",
        "NO_COLOR",
        "CLICOLOR_FORCE",
        "RUST_LOG",
    ] {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

/// What one run came to.
pub struct Run {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|e| panic!("{e} in {:?}; {}", self.stdout, self.stderr))
    }

    /// One value a line.
    pub fn json_lines(&self) -> Vec<Value> {
        self.stdout
            .lines()
            .map(|l| serde_json::from_str(l).unwrap_or_else(|e| panic!("{e} in {l:?}")))
            .collect()
    }

    /// The exit code is `code`, and the error has a line of its own.
    #[track_caller]
    pub fn fails(&self, code: i32) -> &Self {
        assert_eq!(self.code, code, "{}{}", self.stdout, self.stderr);
        assert!(self.stderr.contains("error: "), "{}", self.stderr);
        self
    }

    #[track_caller]
    pub fn succeeds(&self) -> &Self {
        assert_eq!(self.code, 0, "{}{}", self.stdout, self.stderr);
        self
    }

    /// The error names a way out.
    #[track_caller]
    pub fn advises(&self, what: &str) -> &Self {
        assert!(self.stderr.contains(what), "{what:?} is not in {:?}", self.stderr);
        self
    }
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().expect("ended by itself"),
            stdout: String::from_utf8(output.stdout).expect("UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("UTF-8"),
        }
    }
}

pub fn run<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Run {
    osier().args(arguments).output().expect("osier runs").into()
}

/// `line` split at blanks, with the node's state in `state`.
pub fn node(state: &Path, line: &str) -> Run {
    osier()
        .args(line.split_whitespace())
        .env("OSIER_STATE_DIR", state)
        .output()
        .expect("osier runs")
        .into()
}

/// `line` split at blanks, with the registry in `dir`.
pub fn operator(dir: &Path, line: &str) -> Run {
    osier()
        .args(line.split_whitespace())
        .env("OSIER_REGISTRY_DIR", dir)
        .output()
        .expect("osier runs")
        .into()
}

/// With `input` on standard input.
pub fn with_input(mut command: Command, input: &str) -> Run {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("osier runs");
    child
        .stdin
        .take()
        .expect("piped")
        .write_all(input.as_bytes())
        .expect("takes its input");
    child.wait_with_output().expect("osier ends").into()
}

/// Whether a program can be started; `option` must make it end.
pub fn available(program: &str, option: &str) -> bool {
    Command::new(program)
        .arg(option)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|s| s.success())
}
