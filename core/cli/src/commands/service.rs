//! `osier service`: running the node, or a registry, as a hardened systemd service.
//!
//! The node runs as a system user of its own, `osier`, with one capability, `CAP_NET_ADMIN`, which the TUN device
//! needs. `DynamicUser=` is not used: `osier join` and `osier status` run from a shell and want one user and one
//! directory that stay. The user comes from a sysusers file, so that packages and `service install` make it alike.

use crate::{
    exit::{Exit, Failure, Outcome},
    output::Output,
};
use clap::{Subcommand, ValueEnum};
use osier_core::system::is_privileged;
use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

#[derive(Debug, clap::Args)]
pub(crate) struct ServiceArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Write the unit, make its user, enable and start it
    Install(InstallArgs),
    /// Stop the service and remove its unit; keys and certificates stay
    Uninstall(PlaceArgs),
    /// Print the unit without installing it
    Show(UnitArgs),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// The node of this machine (osier.service)
    Node,
    /// A registry (osier-registry.service)
    Registry,
}

#[derive(Debug, clap::Args)]
struct UnitArgs {
    /// Which service
    #[arg(value_enum, default_value_t = Kind::Node)]
    kind: Kind,
    /// Path of the osier program in the unit [default: this program; /usr/bin/osier with --root]
    #[arg(long, value_name = "PATH")]
    program: Option<PathBuf>,
    /// Options for `osier up` or `osier registry serve`, after `--`
    #[arg(last = true, value_name = "OPTION")]
    options: Vec<String>,
}

#[derive(Debug, clap::Args)]
struct InstallArgs {
    #[command(flatten)]
    unit: UnitArgs,
    /// Write the files below DIR and do nothing else, for packaging
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Do not start it, now or with the system
    #[arg(long)]
    no_enable: bool,
}

#[derive(Debug, clap::Args)]
struct PlaceArgs {
    /// Which service
    #[arg(value_enum, default_value_t = Kind::Node)]
    kind: Kind,
    /// Remove the files below DIR and do nothing else
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
}

const SYSUSERS: &str = "u osier - \"Osier mesh network\" /var/lib/osier\n";

impl Kind {
    fn unit_name(self) -> &'static str {
        match self {
            Self::Node => "osier.service",
            Self::Registry => "osier-registry.service",
        }
    }

    /// What to do before it can start.
    fn missing(self) -> &'static str {
        match self {
            Self::Node => "join with `sudo osier join -`",
            Self::Registry => "make a network with `sudo osier network create`",
        }
    }

    fn sysusers_name(self) -> &'static str {
        match self {
            Self::Node => "osier.conf",
            Self::Registry => "osier-registry.conf",
        }
    }
}

pub(crate) fn service(args: &ServiceArgs, output: &Output) -> Outcome {
    if !cfg!(target_os = "linux") {
        return Err(Failure::new(
            Exit::Failure,
            "`osier service` is not supported on this system: it needs Linux with systemd",
            "start `osier up` by this system's own means",
        ));
    }
    match &args.action {
        Action::Show(unit) => {
            let text = unit_text(unit, false)?;
            output.show(
                &serde_json::json!({ "name": unit.kind.unit_name(), "unit": text }),
                |_| text.clone(),
            )
        }
        Action::Install(args) => install(args, output),
        Action::Uninstall(args) => uninstall(args, output),
    }
}

fn install(args: &InstallArgs, output: &Output) -> Outcome {
    let kind = args.unit.kind;
    let text = unit_text(&args.unit, args.root.is_some())?;
    let files = [
        (unit_path(kind, args.root.as_deref()), text.as_str()),
        (sysusers_path(kind, args.root.as_deref()), SYSUSERS),
    ];
    if args.root.is_none() {
        need_root_and_systemd()?;
    }
    for (path, text) in &files {
        write(path, text)?;
    }
    if args.root.is_none() {
        run("systemd-sysusers", &[&files[1].0.to_string_lossy()])?;
        run("systemctl", &["daemon-reload"])?;
        match (args.no_enable, ready(kind)) {
            (true, _) => {}
            (false, true) => run("systemctl", &["enable", "--now", kind.unit_name()])?,
            (false, false) => run("systemctl", &["enable", kind.unit_name()])?,
        }
    }
    let paths: Vec<&Path> = files.iter().map(|(path, _)| path.as_path()).collect();
    output.show(&serde_json::json!({ "written": paths }), |_| {
        let mut text: String = paths.iter().map(|p| format!("wrote {}\n", p.display())).collect();
        let unit = kind.unit_name();
        text += &match (&args.root, args.no_enable) {
            (Some(_), _) => String::new(),
            (None, true) => format!("start it with `systemctl enable --now {unit}`\n"),
            (None, false) if ready(kind) => format!("started; see `systemctl status {unit}`\n"),
            (None, false) => format!(
                "not started: {} first, then `systemctl start {unit}`\n",
                kind.missing()
            ),
        };
        text
    })
}

/// Whether there is something for it to run.
fn ready(kind: Kind) -> bool {
    match kind {
        Kind::Node => crate::paths::is_member(Path::new("/var/lib/osier")),
        Kind::Registry => Path::new("/var/lib/osier-registry/network.cbor").exists(),
    }
}

fn uninstall(args: &PlaceArgs, output: &Output) -> Outcome {
    let files = [
        unit_path(args.kind, args.root.as_deref()),
        sysusers_path(args.kind, args.root.as_deref()),
    ];
    if args.root.is_none() {
        need_root_and_systemd()?;
        if !files[0].exists() {
            return Err(Failure::plain(
                Exit::Failure,
                format!("{} is not installed", args.kind.unit_name()),
            ));
        }
        run("systemctl", &["disable", "--now", args.kind.unit_name()])?;
    }
    let mut removed = Vec::new();
    for path in &files {
        match fs::remove_file(path) {
            Ok(()) => removed.push(path),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(Failure::io(format!("cannot remove {}", path.display()), &e)),
        }
    }
    if args.root.is_none() {
        run("systemctl", &["daemon-reload"])?;
    }
    output.show(&serde_json::json!({ "removed": removed }), |_| {
        removed
            .iter()
            .map(|p| format!("removed {}\n", p.display()))
            .collect()
    })
}

/// A package's units live in /usr/lib, an administrator's in /etc.
fn unit_path(kind: Kind, root: Option<&Path>) -> PathBuf {
    match root {
        Some(root) => root.join("usr/lib/systemd/system").join(kind.unit_name()),
        None => Path::new("/etc/systemd/system").join(kind.unit_name()),
    }
}

fn sysusers_path(kind: Kind, root: Option<&Path>) -> PathBuf {
    match root {
        Some(root) => root.join("usr/lib/sysusers.d").join(kind.sysusers_name()),
        None => Path::new("/etc/sysusers.d").join(kind.sysusers_name()),
    }
}

fn unit_text(args: &UnitArgs, packaging: bool) -> Outcome<String> {
    let program = match &args.program {
        Some(program) => program.clone(),
        None if packaging => PathBuf::from("/usr/bin/osier"),
        None => std::env::current_exe().map_err(|e| Failure::io("cannot find this program's path", &e))?,
    };
    if !program.is_absolute() {
        return Err(Failure::plain(
            Exit::Usage,
            format!("{} is not an absolute path", program.display()),
        ));
    }
    let mut command = quoted(&program.to_string_lossy());
    command.push_str(match args.kind {
        Kind::Node => " up --state-dir /var/lib/osier",
        Kind::Registry => " registry serve --dir /var/lib/osier-registry",
    });
    for option in &args.options {
        command.push(' ');
        command.push_str(&quoted(option));
    }
    Ok(match args.kind {
        Kind::Node => format!("{NODE_HEAD}ExecStart={command}\n{NODE_BODY}{HARDENING}{NODE_TAIL}{INSTALL}"),
        Kind::Registry => format!("{REGISTRY_HEAD}ExecStart={command}\n{REGISTRY_BODY}{HARDENING}{INSTALL}"),
    })
}

/// One word of a systemd command line.
fn quoted(word: &str) -> String {
    let word = word.replace('%', "%%").replace('$', "$$");
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%$+[]".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word,
        false => format!(
            "\"{}\"",
            word.replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace('\n', "\\n")
        ),
    }
}

const NODE_HEAD: &str = "\
[Unit]
Description=Osier mesh network node
After=network.target

[Service]
Type=exec
";

const NODE_BODY: &str = "\
ExecReload=/bin/kill -HUP $MAINPID
Restart=on-failure
RestartSec=2
# A wrong option, no network joined, or no permission: a restart would not help.
RestartPreventExitStatus=2 4 5
# The node moves its neighbours' traffic away before it stops.
TimeoutStopSec=30
User=osier
StateDirectory=osier
StateDirectoryMode=0700
UMask=0077
LimitNOFILE=65536
AmbientCapabilities=CAP_NET_ADMIN
CapabilityBoundingSet=CAP_NET_ADMIN
DevicePolicy=closed
DeviceAllow=/dev/net/tun rw
RestrictAddressFamilies=AF_INET AF_INET6 AF_NETLINK AF_UNIX
";

const REGISTRY_HEAD: &str = "\
[Unit]
Description=Osier registry
After=network.target

[Service]
Type=exec
";

const REGISTRY_BODY: &str = "\
Restart=on-failure
RestartSec=2
RestartPreventExitStatus=2 4 5
TimeoutStopSec=30
User=osier
StateDirectory=osier-registry
StateDirectoryMode=0700
UMask=0077
LimitNOFILE=65536
AmbientCapabilities=
CapabilityBoundingSet=
PrivateDevices=yes
PrivateUsers=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
";

const HARDENING: &str = "\
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
ProcSubset=pid
LockPersonality=yes
MemoryDenyWriteExecute=yes
RemoveIPC=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM
";

/// To let `control_group` use the control socket.
const NODE_TAIL: &str = "SystemCallFilter=@chown\n";

const INSTALL: &str = "
[Install]
WantedBy=multi-user.target
";

fn need_root_and_systemd() -> Outcome {
    if !is_privileged() {
        return Err(Failure::new(
            Exit::Permission,
            "installing a service needs root",
            "run it with sudo, or write the files elsewhere with --root DIR",
        ));
    }
    if !Path::new("/run/systemd/system").exists() {
        return Err(Failure::new(
            Exit::Failure,
            "systemd does not run this machine",
            "`osier service show` prints the unit; start `osier up` by your own init system",
        ));
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> Outcome {
    let result = path
        .parent()
        .map_or(Ok(()), fs::create_dir_all)
        .and_then(|()| fs::write(path, text));
    result.map_err(|e| Failure::io(format!("cannot write {}", path.display()), &e))
}

fn run(program: &str, arguments: &[&str]) -> Outcome {
    let status = Command::new(program)
        .args(arguments)
        .status()
        .map_err(|e| Failure::io(format!("cannot run {program}"), &e))?;
    match status.success() {
        true => Ok(()),
        false => Err(Failure::plain(
            Exit::Failure,
            format!("`{program} {}` failed: {status}", arguments.join(" ")),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(kind: Kind, options: &[&str]) -> String {
        let args = UnitArgs {
            kind,
            program: Some("/usr/bin/osier".into()),
            options: options.iter().map(ToString::to_string).collect(),
        };
        unit_text(&args, true).expect("a unit")
    }

    #[test]
    fn the_node_unit() {
        insta::assert_snapshot!(unit(Kind::Node, &["--port", "16697"]));
    }

    #[test]
    fn the_registry_unit() {
        insta::assert_snapshot!(unit(Kind::Registry, &["--listen", "[::]:8443"]));
    }

    #[test]
    fn the_units_user_is_the_one_that_sysusers_makes() {
        assert!(SYSUSERS.starts_with("u osier "));
        for kind in [Kind::Node, Kind::Registry] {
            assert!(unit(kind, &[]).contains("\nUser=osier\n"));
        }
    }

    #[test]
    fn options_cannot_break_out_of_the_command_line() {
        let text = unit(Kind::Node, &["a b", "100%", "$HOME", "x\"y", "two\nlines"]);
        assert!(
            text.contains(r#"/var/lib/osier "a b" 100%% $$HOME "x\"y" "two\nlines""#),
            "{text}"
        );
    }

    #[test]
    fn a_relative_program_is_refused() {
        let args = UnitArgs {
            kind: Kind::Node,
            program: Some("osier".into()),
            options: Vec::new(),
        };
        assert_eq!(unit_text(&args, false).expect_err("relative").exit, Exit::Usage);
    }
}
