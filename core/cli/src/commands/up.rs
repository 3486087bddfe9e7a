//! `osier up`: the node itself, in the foreground.

use crate::{
    commands::join::explain_state,
    control::not_joined,
    exit::{Exit, Failure, Outcome},
    hosting::OwnNetwork,
    output::Output,
    paths::ControlArgs,
};
use osier_core::{
    Config, Daemon, DaemonError, Service, TunChoice, control::ServerError, tun::TunError, udp::UdpError,
};
use std::{io, net::SocketAddr, path::Path};

#[derive(Debug, clap::Args)]
pub(crate) struct UpArgs {
    #[command(flatten)]
    node: ControlArgs,
    /// UDP port to listen on; it must be free [default: the usual port, or another when it is taken]
    #[arg(long, short, value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// An address and port where others can reach this node, besides what it finds out itself; repeatable
    #[arg(long = "endpoint", short, value_name = "ADDR:PORT")]
    endpoints: Vec<SocketAddr>,
    /// How many tunnels to choose and keep [default: 6, or 3 with --leaf; others choose as many with us]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    neighbours: Option<u16>,
    /// How many tunnels that others chose to accept [default: 3 times as many as --neighbours; a hub takes more]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(0..=3000))]
    incoming: Option<u16>,
    /// Carry only this node's own traffic, keep few tunnels and sleep while nothing passes: for phones
    #[arg(long)]
    leaf: bool,
    /// Name of the TUN device
    #[arg(long, value_name = "NAME", conflicts_with = "no_tun", value_parser = interface_name)]
    tun: Option<String>,
    /// Run without a TUN device: relay and answer pings only; needs no privileges
    #[arg(long)]
    no_tun: bool,
    /// Exchange packets with the system one by one: slower, for kernels and drivers whose offload is broken
    #[arg(long)]
    no_offload: bool,
    /// Seal with WireGuard's ChaCha20-Poly1305 alone, also where AES-256-GCM is faster
    #[arg(long)]
    no_aes: bool,
    /// Threads that may handle packets [default: half of the processors, 4 at most]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=16))]
    packet_threads: Option<u8>,
    /// Do not ask the router for a port mapping
    #[arg(long)]
    no_upnp: bool,
    /// Group whose members may steer the daemon
    #[arg(long, value_name = "GROUP")]
    control_group: Option<String>,
    /// Run as a service that a front end steers: open the control socket before there is a membership, keep it open
    /// while switched off, and take `osier join`, `osier leave`, `osier on` and `osier off` through it
    #[arg(long)]
    service: bool,
    /// error, warn, info, debug or trace, or MODULE=LEVEL,… [default: info]
    #[arg(long, value_name = "LEVEL", env = "OSIER_LOG")]
    log_level: Option<String>,
}

pub(crate) async fn up(args: &UpArgs, output: &Output) -> Outcome {
    let state_dir = args.node.state.dir()?;
    if !args.service && !crate::paths::is_member(&state_dir) {
        return Err(not_joined(&state_dir));
    }
    super::start_log(args.log_level.as_deref(), output)?;
    let mut config = Config::new(&state_dir);
    config.tun = match (&args.tun, args.no_tun) {
        (_, true) => TunChoice::None,
        (Some(name), false) => TunChoice::Named(name.clone()),
        (None, false) => TunChoice::Settings,
    };
    config.log.clone_from(&args.log_level);
    config.port = args.port;
    config.control_socket = args.node.socket.clone();
    config.control_group = args.control_group.clone();
    config.port_mapping = args.no_upnp.then_some(false);
    config.endpoints = (!args.endpoints.is_empty()).then(|| args.endpoints.clone());
    config.outgoing = args.neighbours.map(usize::from);
    config.incoming = args.incoming.map(usize::from);
    config.leaf = args.leaf.then_some(true);
    config.offload = args.no_offload.then_some(false);
    config.aes = args.no_aes.then_some(false);
    config.packet_threads = args.packet_threads.map(usize::from);
    config.log = args.log_level.clone();
    let result = match args.service {
        true => {
            let host = OwnNetwork::in_state_dir(&state_dir);
            Service::run_with_host(config, Some(Box::new(host))).await
        }
        false => Daemon::run(config).await,
    };
    result.map_err(|e| explain(&e, &state_dir))
}

/// The daemon's messages say what to do; this adds the codes.
fn explain(error: &DaemonError, state_dir: &Path) -> Failure {
    let exit = match error {
        DaemonError::State(error) => return explain_state(error, state_dir),
        DaemonError::Udp(UdpError::InUse(_)) | DaemonError::Tun(TunError::Busy { .. }) => Exit::Conflict,
        DaemonError::Udp(UdpError::Privileged(_)) | DaemonError::Tun(TunError::Permission { .. }) => {
            Exit::Permission
        }
        DaemonError::Tun(TunError::BadName { .. })
        | DaemonError::Control(ServerError::NoGroup(_) | ServerError::NoPipe(_))
        | DaemonError::Logging(_)
        | DaemonError::Settings(_) => Exit::Usage,
        DaemonError::Control(ServerError::InTheWay(_) | ServerError::PipeTaken(_)) => Exit::Conflict,
        DaemonError::Control(ServerError::Io { source, .. }) if denied(source) => Exit::Permission,
        _ => Exit::Failure,
    };
    Failure::plain(exit, error.to_string())
}

fn denied(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
    )
}

/// What Linux takes for the name of an interface.
fn interface_name(text: &str) -> Result<String, String> {
    match (1..=15).contains(&text.len()) && !text.contains(['/', ' ', ':']) && text != "." && text != ".." {
        true => Ok(text.to_owned()),
        false => Err("a device name has 1 to 15 characters, without blanks, `/` and `:`".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_names_fit_the_kernel() {
        assert!(interface_name("osier0").is_ok());
        for bad in ["", "..", "a/b", "a b", "sixteen-letters-"] {
            assert!(interface_name(bad).is_err(), "{bad}");
        }
    }
}
