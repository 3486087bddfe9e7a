//! Running the real program.

#![allow(dead_code, unreachable_pub)] // each test program uses its part

use serde_json::Value;
use std::{
    ffi::OsStr,
    fs::File,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Output, Stdio},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
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

/// Polls until `condition` holds; gives up after half a minute.
#[track_caller]
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "not within 30 s: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub fn unix_now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_secs()
}

/// A daemon of ours; killed when dropped.
pub struct Daemon {
    child: Child,
    log: PathBuf,
    _log_directory: tempfile::TempDir,
}

impl Daemon {
    pub fn spawn(mut command: Command) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let log = directory.path().join("log");
        let file = File::create(&log).expect("a log file");
        let child = command
            .stdout(Stdio::piped())
            .stderr(file)
            .spawn()
            .expect("osier runs");
        Self {
            child,
            log,
            _log_directory: directory,
        }
    }

    pub fn stdout(&mut self) -> BufReader<ChildStdout> {
        BufReader::new(self.child.stdout.take().expect("taken once"))
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).expect("readable")
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("alive");
    }

    /// Waits for its end; the exit code.
    #[track_caller]
    pub fn wait(&mut self) -> i32 {
        let mut status = None;
        wait_until("the daemon ends", || {
            status = self.child.try_wait().expect("a child");
            status.is_some()
        });
        status
            .and_then(|s| s.code())
            .unwrap_or_else(|| panic!("killed: {}", self.log()))
    }

    pub fn ended(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_some()
    }

    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
    }
}

/// `osier registry serve` on the loopback address.
pub struct Registry {
    pub url: String,
    daemon: Daemon,
}

impl Registry {
    /// With a free port, kept in its settings so that invites know it.
    pub fn serve(dir: &Path, options: &[&str]) -> Self {
        let tls = options.contains(&"--self-signed");
        let mut command = osier();
        command.args(["registry", "serve", "--json", "--dir"]).arg(dir);
        if !options.contains(&"--listen") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        command.args(options);
        let mut daemon = Daemon::spawn(command);
        let mut line = String::new();
        daemon.stdout().read_line(&mut line).expect("readable");
        assert!(!line.is_empty(), "no ready line: {}", daemon.log());
        let ready: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(ready["event"], "ready");
        assert_eq!(ready["tls"], tls);
        let address = ready["address"].as_str().expect("an address");
        let url = format!("{}://{address}", if tls { "https" } else { "http" });
        // The port was not known before.
        let settings = dir.join("registry.toml");
        let text = std::fs::read_to_string(&settings).expect("settings");
        std::fs::write(
            &settings,
            text.replace("public_urls = []", &format!("public_urls = [\"{url}\"]")),
        )
        .expect("written");
        Self { url, daemon }
    }

    pub fn log(&self) -> String {
        self.daemon.log()
    }

    pub fn kill(&mut self) {
        self.daemon.kill();
    }

    /// SIGTERM, and a clean end.
    #[track_caller]
    pub fn stop(mut self) {
        self.daemon.signal(rustix::process::Signal::TERM);
        let code = self.daemon.wait();
        assert_eq!(code, 0, "{}", self.daemon.log());
    }
}
