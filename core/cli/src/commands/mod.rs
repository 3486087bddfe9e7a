//! The commands, a file for each group.

mod babel;
mod completions;
mod daemon;
mod doctor;
mod invite;
mod join;
mod network;
mod nodes;
mod operator;
mod ping;
mod registry;
mod service;
mod status;
mod switch;
mod topology;
mod up;
mod usage;

use crate::{
    exit::{Exit, Failure, Outcome},
    output::Output,
};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Create a network, show it, or renew its registry's right to sign
    Network(network::NetworkArgs),
    /// Run a network's registry
    Registry(registry::RegistryArgs),
    /// Make an invite for new nodes, list invites or withdraw one
    Invite(invite::InviteArgs),
    /// List the nodes that have joined
    Nodes(nodes::NodesArgs),
    /// Take a node's membership away
    Revoke(nodes::RevokeArgs),
    /// Join a network with an invite
    Join(join::JoinArgs),
    /// Run the node in the foreground
    Up(up::UpArgs),
    /// Stop the node; its neighbours route around it first, so nothing is lost
    Down(daemon::DownArgs),
    /// Switch a service's node on (see `osier up --service`)
    On(switch::SwitchArgs),
    /// Switch a service's node off; the service stays and remembers it
    Off(switch::SwitchArgs),
    /// Show how the node is doing, and what to do if it is not well
    Status(status::StatusArgs),
    /// List the other nodes and how traffic reaches them
    Peers(status::PeersArgs),
    /// List the end-to-end sessions: whose traffic relays carry for this node, unread
    Sessions(status::SessionsArgs),
    /// List the routes, in use or not, and why
    Routes(status::RoutesArgs),
    /// List everyone whose certificate this node knows
    Members(status::MembersArgs),
    /// Send echoes to a node through the mesh
    Ping(ping::PingArgs),
    /// List the nodes on the way to a node
    Trace(ping::TraceArgs),
    /// Draw what this node knows of the network
    Topology(topology::TopologyArgs),
    /// Show the node's log
    Logs(daemon::LogsArgs),
    /// Watch what happens, line by line
    Events(daemon::EventsArgs),
    /// Show how much traffic there was per day, own and carried for others
    Usage(usage::UsageArgs),
    /// Check everything that the node needs, and say what to do about what is wrong
    Doctor(doctor::DoctorArgs),
    /// Make the node read settings.toml again
    Reload(daemon::ReloadArgs),
    /// Leave the network: stop the node and remove its keys
    Leave(join::LeaveArgs),
    /// Run the node or a registry as a systemd service
    Service(service::ServiceArgs),
    /// Speak Babel on the system's interfaces, to bridge with an existing Babel network
    Babel(babel::BabelArgs),
    /// Print a completion script for a shell
    Completions(completions::CompletionsArgs),
}

impl Command {
    /// Whether it uses worker threads. A node and a Babel speaker do not: each is one task with little beside it,
    /// and a node's packets have threads of their own; more would only wake each other.
    pub(crate) fn wants_workers(&self) -> bool {
        matches!(self, Self::Registry(_))
    }

    pub(crate) async fn run(&self, output: &Output) -> Outcome {
        match self {
            Self::Network(args) => network::network(args, output).await,
            Self::Registry(args) => args.run(output).await,
            Self::Invite(args) => invite::invite(args, output).await,
            Self::Nodes(args) => nodes::nodes(args, output).await,
            Self::Revoke(args) => nodes::revoke(args, output).await,
            Self::Join(args) => join::join(args, output).await,
            Self::Up(args) => up::up(args, output).await,
            Self::Down(args) => daemon::down(args, output).await,
            Self::On(args) => switch::switch(args, true, output).await,
            Self::Off(args) => switch::switch(args, false, output).await,
            Self::Status(args) => status::status(args, output).await,
            Self::Peers(args) => status::peers(args, output).await,
            Self::Sessions(args) => status::sessions(args, output).await,
            Self::Routes(args) => status::routes(args, output).await,
            Self::Members(args) => status::members(args, output).await,
            Self::Ping(args) => ping::ping(args, output).await,
            Self::Trace(args) => ping::trace(args, output).await,
            Self::Topology(args) => topology::topology(args, output).await,
            Self::Logs(args) => daemon::logs(args, output).await,
            Self::Events(args) => daemon::events(args, output).await,
            Self::Usage(args) => usage::usage(args, output).await,
            Self::Doctor(args) => doctor::doctor(args, output).await,
            Self::Reload(args) => daemon::reload(args, output).await,
            Self::Leave(args) => join::leave(args, output).await,
            Self::Service(args) => service::service(args, output),
            Self::Babel(args) => babel::babel(args, output).await,
            Self::Completions(args) => completions::completions(args, output),
        }
    }
}

/// Starts logging to standard error.
fn start_log(level: Option<&str>, _output: &Output) -> Outcome {
    osier_core::logging::init(level.unwrap_or("info")).map_err(|e| Failure::plain(Exit::Usage, e.to_string()))
}
