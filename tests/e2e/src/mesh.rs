//! A network with its registry and members, handled through the command line alone.

use crate::{
    internet::{Host, Internet},
    prober::End,
};
use anyhow::{Context, Result, bail};
use osier_lab::{Lab, Process, wait_until};
use serde_json::Value;
use std::{
    io::{Read, Write},
    net::{Ipv6Addr, SocketAddr},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

/// How long a command that should answer at once may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(20);

/// The `osier` binary of this build: in the folder of this program or above (tests live in `deps/`).
pub fn osier() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let found = own
        .ancestors()
        .skip(1)
        .take(3)
        .map(|folder| folder.join("osier"))
        .find(|p| p.is_file());
    found.context("the osier binary is not built: run `cargo build -p osier-cli` first")
}

/// A registry on a host of its own.
pub struct Registry {
    pub host: Host,
    directory: PathBuf,
    url: String,
    process: Option<Process>,
}

impl Registry {
    /// Creates a network and serves its registry.
    pub fn create(internet: &Internet<'_>) -> Result<Self> {
        Self::create_on(internet.lab(), internet.host("registry")?)
    }

    pub fn create_on(lab: &Lab, host: Host) -> Result<Self> {
        let directory = lab.directory().join("network");
        output(
            Command::new(osier()?)
                .args(["network", "create"])
                .arg(&directory)
                .args(["--name", "demo"]),
        )?;
        let url = format!("http://{}", SocketAddr::from((host.public, 8080)));
        let mut registry = Self {
            host,
            directory,
            url,
            process: None,
        };
        registry.serve()?;
        Ok(registry)
    }

    pub fn serve(&mut self) -> Result<()> {
        let mut command = self.host.netns.command(osier()?);
        command.args(["registry", "serve", "--dir"]).arg(&self.directory);
        command.args(["--listen", "[::]:8080", "--url", &self.url]);
        self.process = Some(self.host.netns.spawn("registry", command)?);
        let address = SocketAddr::from((self.host.public, 8080));
        let script = format!("exec 3<>/dev/tcp/{}/{}", address.ip(), address.port());
        wait_until(PATIENCE, "the registry listens", || {
            self.host
                .netns
                .command("bash")
                .args(["-c", &script])
                .output()
                .is_ok_and(|o| o.status.success())
        })?;
        Ok(())
    }

    /// Ends it as a crash would.
    pub fn kill(&mut self) {
        self.process = None;
    }

    pub fn invite(&self, uses: usize) -> Result<String> {
        let mut command = Command::new(osier()?);
        command.args(["invite", "--dir"]).arg(&self.directory);
        command.args(["--uses", &uses.to_string(), "--url", &self.url]);
        let text = output(&mut command)?;
        let invite = text.split_whitespace().find(|word| word.starts_with("osier://"));
        Ok(invite
            .with_context(|| format!("no invite in {text:?}"))?
            .to_owned())
    }

    pub fn revoke(&self, name: &str) -> Result<()> {
        output(
            Command::new(osier()?)
                .args(["revoke", name, "--dir"])
                .arg(&self.directory),
        )
        .map(drop)
    }
}

/// One node.
pub struct Member {
    pub name: String,
    pub host: Host,
    /// Its mesh address, which its certificate holds.
    pub enrolled: Ipv6Addr,
    state: PathBuf,
    options: Vec<String>,
    process: Option<Process>,
}

impl Member {
    /// Enrols a node on `host`; it does not run yet.
    pub fn join(lab: &Lab, host: Host, invite: &str, options: &[&str]) -> Result<Self> {
        let mut member = Self::outsider(lab, host, options);
        member.enrol(invite)?;
        Ok(member)
    }

    /// A machine that has joined nothing yet.
    pub fn outsider(lab: &Lab, host: Host, options: &[&str]) -> Self {
        let name = host.netns.name().to_owned();
        Self {
            state: lab.directory().join(format!("state-{name}")),
            name,
            host,
            enrolled: Ipv6Addr::UNSPECIFIED,
            options: options.iter().map(|o| (*o).to_owned()).collect(),
            process: None,
        }
    }

    /// `osier join`: by itself, or through the service that runs.
    pub fn enrol(&mut self, invite: &str) -> Result<Value> {
        let file = self.state.with_extension("invite");
        std::fs::write(&file, invite)?;
        // From a file: an argument would be visible to every user of the machine.
        let invite = format!("@{}", file.display());
        let joined = self.ask(&["join", &invite, "--name", &self.name])?;
        let address = joined["address"].as_str().context("join told no address")?;
        self.enrolled = address.parse()?;
        Ok(joined)
    }

    /// Where the node keeps its state.
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// Whether the member called `name` is in the file that a start without the registry goes by: its certificate has the
    /// name as a CBOR text, shorter than 24 letters here, after an octet that says its length.
    pub fn has_saved(&self, name: &str) -> bool {
        let text = [&[0x60 | name.len() as u8][..], name.as_bytes()].concat();
        let saved = std::fs::read(self.state.join("members")).unwrap_or_default();
        saved.windows(text.len()).any(|window| window == text)
    }

    /// The JSON answer of the control API to a GET, whatever its status.
    pub fn get(&self, path: &str) -> Result<Value> {
        let text = self.get_text(path)?;
        serde_json::from_str(&text).with_context(|| format!("GET {path} answered no JSON: {text}"))
    }

    /// Likewise, as it is.
    pub fn get_text(&self, path: &str) -> Result<String> {
        let mut stream = UnixStream::connect(self.state.join("control.sock"))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nhost: osier\r\nconnection: close\r\n\r\n"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (_, body) = answer.split_once("\r\n\r\n").context("no HTTP answer")?;
        Ok(body.to_owned())
    }

    /// `osier --state-dir … ` in the member's namespace, with JSON answers.
    fn command(&self) -> Command {
        // The binary is known to exist since `join`.
        let mut command = self
            .host
            .netns
            .command(osier().unwrap_or_else(|_| "osier".into()));
        command.env("OSIER_STATE_DIR", &self.state);
        command
    }

    pub fn up(&mut self) -> Result<()> {
        let mut command = self.command();
        command.arg("up").args(&self.options);
        self.process = Some(self.host.netns.spawn("osier", command)?);
        Ok(())
    }

    /// `osier down`, and the end of the process.
    pub fn down(&mut self) -> Result<()> {
        output(self.command().arg("down"))?;
        let mut process = self.process.take().context("not running")?;
        process.wait(PATIENCE)?;
        Ok(())
    }

    /// Ends it as a crash would.
    pub fn kill(&mut self) {
        self.process = None;
    }

    pub fn is_up(&mut self) -> bool {
        self.process.as_mut().is_some_and(Process::is_running)
    }

    pub fn log(&self) -> String {
        self.process.as_ref().map(Process::log).unwrap_or_default()
    }

    /// The answer of a command with `--json`.
    pub fn ask(&self, arguments: &[&str]) -> Result<Value> {
        let text = output(self.command().args(arguments).arg("--json"))?;
        serde_json::from_str(&text).with_context(|| format!("osier {arguments:?} printed no JSON: {text}"))
    }

    /// Waits until the daemon answers; its mesh address.
    pub fn address(&self) -> Result<Ipv6Addr> {
        let mut status = None;
        wait_until(PATIENCE, &format!("{} answers", self.name), || {
            status = self.ask(&["status"]).ok();
            status.is_some()
        })
        .with_context(|| self.log())?;
        let status = status.context("no status")?;
        let address = status["address"].as_str().context("status has no address")?;
        Ok(address.parse()?)
    }

    /// Rows of `osier peers`.
    pub fn peers(&self) -> Result<Vec<Value>> {
        let peers = self.ask(&["peers"])?;
        let rows = peers.as_array().or_else(|| peers["peers"].as_array());
        Ok(rows
            .with_context(|| format!("osier peers printed {peers}"))?
            .clone())
    }

    /// Names of the neighbours with a tunnel that is up.
    pub fn neighbours(&self) -> Result<Vec<String>> {
        let peers = self.peers()?;
        let up = peers.iter().filter(|p| p["neighbour"] == true);
        Ok(up.filter_map(|p| p["name"].as_str().map(str::to_owned)).collect())
    }

    /// Name of the neighbour that relays for `destination`; `None`: it is direct.
    pub fn relay_to(&self, destination: &str) -> Result<Option<String>> {
        let peers = self.peers()?;
        let row = peers.iter().find(|p| p["name"] == destination);
        let row = row.with_context(|| format!("{} does not know {destination}", self.name))?;
        Ok(row["via"].as_str().map(str::to_owned))
    }

    /// Names along the way to `destination`, by `osier trace`.
    pub fn trace(&self, destination: &str) -> Result<Vec<String>> {
        let text = output(self.command().args(["trace", destination, "--json"]))?;
        let lines = text
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let hops = lines.filter(|line| line["line"] == "hop");
        Ok(hops
            .filter_map(|l| l["name"].as_str().map(str::to_owned))
            .collect())
    }

    /// `osier ping`: so many echoes of so many octets, all of which must be answered.
    pub fn ping(&self, destination: &str, count: u32, size: u32) -> Result<()> {
        let (count, size) = (count.to_string(), size.to_string());
        let options = ["--count", &count, "--size", &size, "--interval", "0.05"];
        let text = output(self.command().args(["ping", destination]).args(options))?;
        if !text.contains(&format!("{count} answered")) {
            bail!("lost on the way to {destination}: {text}");
        }
        Ok(())
    }

    pub fn end(&self) -> Result<End> {
        let netns = self.host.netns.path().to_owned();
        Ok(End {
            name: self.name.clone(),
            netns,
            address: self.address()?,
        })
    }

    /// Resident memory in octets.
    pub fn rss(&self) -> Result<u64> {
        let text = self.proc("status")?;
        let line = text
            .lines()
            .find_map(|l| l.strip_prefix("VmRSS:"))
            .context("no VmRSS")?;
        let kib: u64 = line.trim().trim_end_matches(" kB").trim().parse()?;
        Ok(kib * 1024)
    }

    /// Processor time used so far.
    pub fn cpu(&self) -> Result<Duration> {
        cpu_of(self.id()?)
    }

    /// Its process id.
    pub fn id(&self) -> Result<u32> {
        Ok(self.process.as_ref().context("not running")?.id())
    }

    fn proc(&self, file: &str) -> Result<String> {
        proc(self.id()?, file)
    }
}

/// Processor time that a process has used so far.
pub fn cpu_of(process: u32) -> Result<Duration> {
    let text = proc(process, "stat")?;
    // Fields after the command name, which may hold blanks, in parentheses; times in ticks of 10 ms.
    let fields: Vec<&str> = text
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    let ticks = |i: usize| {
        fields
            .get(i)
            .and_then(|f| f.parse::<u64>().ok())
            .context("short /proc/PID/stat")
    };
    Ok(Duration::from_millis(10 * (ticks(11)? + ticks(12)?)))
}

fn proc(process: u32, file: &str) -> Result<String> {
    Ok(std::fs::read_to_string(
        Path::new("/proc").join(process.to_string()).join(file),
    )?)
}

/// Runs a command to its end; its standard output, or an error with all it said.
pub fn output(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .with_context(|| format!("cannot run {command:?}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let printed = String::from_utf8_lossy(&output.stdout);
        bail!(
            "{command:?} failed ({}): {}{}",
            output.status,
            printed,
            said.trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
