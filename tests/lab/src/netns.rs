//! Namespaces and the wires between them.

use crate::{Error, Process, Result};
use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

/// Makes names unique within the program, and interface names short (at most 15 octets).
static NUMBER: AtomicU32 = AtomicU32::new(0);

/// `ip netns add` prepares /run/netns when it is the first: not twice at once.
static ADDING: Mutex<()> = Mutex::new(());

fn number() -> u32 {
    NUMBER.fetch_add(1, Ordering::Relaxed)
}

/// A set of namespaces, deleted (with every process still in them) when it is dropped.
#[derive(Debug)]
pub struct Lab {
    name: String,
    directory: PathBuf,
    made: Mutex<Vec<Netns>>,
}

impl Lab {
    /// `name` appears in the names of namespaces and of the scratch directory.
    ///
    /// # Errors
    /// Outside [`crate::enter`]: a lab must never touch the host.
    pub fn new(name: &str) -> Result<Self> {
        if !crate::inside() {
            return Err(Error::new("not in a lab: call osier_lab::enter() first"));
        }
        let name = format!("{name}-{}", number());
        let directory = Path::new("/run/lab").join(&name);
        std::fs::create_dir_all(&directory)
            .map_err(|e| Error::new(format!("{}: {e}", directory.display())))?;
        Ok(Self {
            name,
            directory,
            made: Mutex::default(),
        })
    }

    /// Runs a test in a lab of its own, entering one if need be. When it fails, the error also has the last
    /// lines of what the lab's processes wrote.
    pub fn run<E: std::fmt::Display>(
        name: &str,
        test: impl FnOnce(&Self) -> std::result::Result<(), E>,
    ) -> Result<()> {
        crate::enter();
        let lab = Self::new(name)?;
        test(&lab).map_err(|e| Error::new(format!("{e:#}\n{}", lab.logs())))
    }

    /// The last lines of each log file.
    fn logs(&self) -> String {
        let entries = std::fs::read_dir(&self.directory).into_iter().flatten().flatten();
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        paths.retain(|path| path.extension() == Some(OsStr::new("log")));
        paths.sort();
        paths.iter().map(|path| crate::process::tail(path)).collect()
    }

    /// A scratch directory, in memory and gone with the lab.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// A new namespace with its loopback up. Duplicate address detection is off, so that addresses work at
    /// once.
    pub fn netns(&self, name: &str) -> Result<Netns> {
        let full = format!("{}-{name}", self.name);
        {
            let _only_one = ADDING.lock();
            checked(Command::new("ip").args(["netns", "add", &full]))?;
        }
        let netns = Netns(Arc::new(Inner {
            name: name.to_owned(),
            path: Path::new("/run/netns").join(&full),
            full,
            directory: self.directory.clone(),
        }));
        self.made
            .lock()
            .map_err(|_| Error::new("a test panicked"))?
            .push(netns.clone());
        netns.sysctl("net.ipv6.conf.default.accept_dad", "0")?;
        netns.run("ip link set dev lo up")?;
        Ok(netns)
    }

    /// Joins two namespaces by a pair of interfaces, both up. When one end goes down the other loses its
    /// carrier; see [`Lab::wire`] for failures that nobody is told about.
    pub fn veth(&self, (a, a_if): (&Netns, &str), (b, b_if): (&Netns, &str)) -> Result<()> {
        checked(
            Command::new("ip")
                .args(["-n", &a.0.full, "link", "add", a_if, "type", "veth"])
                .args(["peer", "name", b_if, "netns", &b.0.full]),
        )?;
        a.run(&format!("ip link set dev {a_if} up"))?;
        b.run(&format!("ip link set dev {b_if} up")).map(drop)
    }

    /// Makes a bridge `name` in `netns` out of interfaces that are already there (none is fine).
    pub fn bridge(&self, netns: &Netns, name: &str, ports: &[&str]) -> Result<()> {
        netns.run(&format!(
            "ip link add {name} type bridge stp_state 0 forward_delay 0 mcast_snooping 0"
        ))?;
        netns.run(&format!("ip link set dev {name} up"))?;
        ports.iter().try_for_each(|port| {
            netns
                .run(&format!("ip link set dev {port} master {name}"))
                .map(drop)
        })
    }

    /// Joins two namespaces through a switch, so that the wire can be cut without either end losing its
    /// carrier.
    pub fn wire(&self, a: (&Netns, &str), b: (&Netns, &str)) -> Result<Wire> {
        let switch = self.netns(&format!("wire{}", number()))?;
        self.veth(a, (&switch, "a"))?;
        self.veth(b, (&switch, "b"))?;
        self.bridge(&switch, "br0", &["a", "b"])?;
        Ok(Wire { switch })
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let made = self.made.get_mut().map(std::mem::take).unwrap_or_default();
        for netns in &made {
            for pid in netns.pids() {
                if let Some(pid) = rustix::process::Pid::from_raw(pid) {
                    // It may have ended meanwhile.
                    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
                }
            }
        }
        for netns in made {
            // The whole machine vanishes with the program anyway.
            let _ = Command::new("ip").args(["netns", "del", &netns.0.full]).output();
        }
    }
}

/// A wire between two namespaces that can fail silently.
#[derive(Debug)]
pub struct Wire {
    switch: Netns,
}

impl Wire {
    /// Lets nothing through in either direction; both ends keep their carrier.
    pub fn cut(&self) -> Result<()> {
        self.switch.run("ip link set dev b nomaster").map(drop)
    }

    pub fn mend(&self) -> Result<()> {
        self.switch.run("ip link set dev b master br0").map(drop)
    }

    /// The namespace in the middle with its bridge `br0` and the ports `a` and `b`, for `tc` or `nft`.
    pub fn switch(&self) -> &Netns {
        &self.switch
    }
}

/// A network namespace; clones are the same one. It lives as long as its [`Lab`].
#[derive(Clone, Debug)]
pub struct Netns(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    name: String,
    full: String,
    path: PathBuf,
    directory: PathBuf,
}

impl Netns {
    /// As given to [`Lab::netns`].
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// File that names the namespace, for `nsenter --net=` or `setns`.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Scratch directory of the lab, shared by its namespaces.
    pub fn directory(&self) -> &Path {
        &self.0.directory
    }

    /// A command that will run inside; it keeps its process id, so it can be signalled directly.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net={}", self.0.path.display()))
            .arg("--")
            .arg(program);
        command
    }

    /// Runs a command line (split at blanks, no quoting) and gives its output.
    ///
    /// # Errors
    /// When it fails: with what it printed.
    pub fn run(&self, line: &str) -> Result<String> {
        let mut words = line.split_whitespace();
        let program = words.next().ok_or_else(|| Error::new("empty command"))?;
        checked(self.command(program).args(words)).map_err(|e| Error::new(format!("in {}: {e}", self.0.name)))
    }

    /// Runs a shell script inside.
    pub fn shell(&self, script: &str) -> Result<String> {
        checked(self.command("sh").args(["-e", "-c", script]))
            .map_err(|e| Error::new(format!("in {}: {e}", self.0.name)))
    }

    /// Starts a program that goes on until dropped. Build `command` with [`Netns::command`]. Its output goes
    /// to a log file named after the namespace and `name`; a second start appends.
    pub fn spawn(&self, name: &str, command: Command) -> Result<Process> {
        let name = format!("{}-{name}", self.0.name);
        let log = self.directory().join(format!("{name}.log"));
        Process::spawn(&name, command, log)
    }

    /// Runs `open` on a thread inside and gives what it returns: a socket stays in the namespace that it was
    /// opened in, whichever thread uses it later.
    pub fn within<T: Send>(&self, open: impl FnOnce() -> T + Send) -> Result<T> {
        let failed = |e: &dyn std::fmt::Display| Error::new(format!("cannot enter {}: {e}", self.0.name));
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                let namespace = std::fs::File::open(self.path()).map_err(|e| failed(&e))?;
                let kind = Some(rustix::thread::LinkNameSpaceType::Network);
                rustix::thread::move_into_link_name_space(namespace.as_fd(), kind).map_err(|e| failed(&e))?;
                Ok(open())
            });
            inside.join().map_err(|_| failed(&"panicked"))?
        })
    }

    /// Adds an address with its prefix length, e.g. `fd00::1/64`.
    pub fn address(&self, interface: &str, address: &str) -> Result<()> {
        let nodad = if address.contains(':') { "nodad" } else { "" };
        self.run(&format!("ip address add {address} dev {interface} {nodad}"))
            .map(drop)
    }

    /// Sets a sysctl of the namespace, e.g. `net.ipv4.ip_forward`.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<()> {
        self.shell(&format!("echo {value} > /proc/sys/{}", key.replace('.', "/")))
            .map(drop)
    }

    /// Turns forwarding on for both families.
    pub fn forwarding(&self) -> Result<()> {
        self.sysctl("net.ipv4.ip_forward", "1")?;
        self.sysctl("net.ipv6.conf.all.forwarding", "1")
    }

    /// One ping; whether the answer came within a second.
    pub fn ping(&self, destination: &str) -> bool {
        self.run(&format!("ping -n -q -c 1 -W 1 {destination}")).is_ok()
    }

    /// The link-local address of an interface.
    pub fn link_local(&self, interface: &str) -> Result<std::net::Ipv6Addr> {
        let text = self.run(&format!("ip -6 -o address show dev {interface} scope link"))?;
        text.split_whitespace()
            .skip_while(|&word| word != "inet6")
            .nth(1)
            .and_then(|address| address.split('/').next()?.parse().ok())
            .ok_or_else(|| {
                Error::new(format!(
                    "{interface} in {} has no link-local address",
                    self.0.name
                ))
            })
    }

    /// Drops every packet between two addresses (of one family) that passes through, enters or leaves this
    /// namespace, without a word to either end, until the returned value is dropped.
    pub fn silence(&self, a: std::net::IpAddr, b: std::net::IpAddr) -> Result<Silence> {
        let family = if a.is_ipv4() { "ip" } else { "ip6" };
        let table = format!("silence{}", number());
        let chain = |hook: &str| {
            format!(
                "chain {hook} {{ type filter hook {hook} priority -300; \
                 {family} saddr {a} {family} daddr {b} drop; {family} saddr {b} {family} daddr {a} drop; }}"
            )
        };
        let rules = format!(
            "table inet {table} {{ {}; {}; }}",
            chain("prerouting"),
            chain("postrouting")
        );
        checked(self.command("nft").arg(rules))?;
        Ok(Silence {
            netns: self.clone(),
            table,
        })
    }

    /// Processes that run in the namespace.
    fn pids(&self) -> Vec<i32> {
        let output = Command::new("ip").args(["netns", "pids", &self.0.full]).output();
        let text = output
            .map(|o| String::from_utf8_lossy(&o.stdout).into_owned())
            .unwrap_or_default();
        text.split_whitespace()
            .filter_map(|word| word.parse().ok())
            .collect()
    }
}

/// See [`Netns::silence`].
#[derive(Debug)]
pub struct Silence {
    netns: Netns,
    table: String,
}

impl Drop for Silence {
    fn drop(&mut self) {
        // Fails only when the namespace is gone, and the rules with it.
        let _ = self.netns.run(&format!("nft delete table inet {}", self.table));
    }
}

/// Runs a command to its end; its standard output, or an error with its standard error.
fn checked(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .map_err(|e| Error::new(format!("cannot run {command:?}: {e}")))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Error::new(format!(
        "{command:?} failed ({}): {}",
        output.status,
        said.trim()
    )))
}
