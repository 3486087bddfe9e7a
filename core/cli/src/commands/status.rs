//! `osier status`, `peers`, `sessions`, `routes` and `members`: views of the running node.

use super::babel::{is_about, parse_target};
use crate::{control::Control, exit::Outcome, output::Output, paths::ControlArgs, render};
use ipnet::IpNet;
use std::net::IpAddr;

#[derive(Debug, clap::Args)]
pub(crate) struct StatusArgs {
    /// Show the counters too
    #[arg(long, short)]
    verbose: bool,
    #[command(flatten)]
    node: ControlArgs,
}

pub(crate) async fn status(args: &StatusArgs, output: &Output) -> Outcome {
    let control = Control::new(&args.node)?;
    let status = control.client.status().await.map_err(|e| control.explain(e))?;
    output.show(&status, |s| render::status(s, args.verbose, crate::format::now()))
}

#[derive(Debug, clap::Args)]
pub(crate) struct PeersArgs {
    /// Only those with whom this node holds a tunnel
    #[arg(long, short)]
    neighbours: bool,
    #[command(flatten)]
    node: ControlArgs,
}

pub(crate) async fn peers(args: &PeersArgs, output: &Output) -> Outcome {
    let control = Control::new(&args.node)?;
    let mut peers = control.client.peers().await.map_err(|e| control.explain(e))?;
    peers.retain(|p| p.neighbour || !args.neighbours);
    peers.sort_by(|a, b| a.name.cmp(&b.name));
    output.show(&peers, |p| render::peers(p))
}

#[derive(Debug, clap::Args)]
pub(crate) struct SessionsArgs {
    #[command(flatten)]
    node: ControlArgs,
}

pub(crate) async fn sessions(args: &SessionsArgs, output: &Output) -> Outcome {
    let control = Control::new(&args.node)?;
    let sessions = control.client.sessions().await.map_err(|e| control.explain(e))?;
    output.show(&sessions, |s| render::sessions(s))
}

#[derive(Debug, clap::Args)]
pub(crate) struct RoutesArgs {
    /// Only routes to this prefix, or to what covers this address
    #[arg(value_name = "PREFIX", value_parser = parse_target)]
    prefix: Option<IpNet>,
    /// Only routes that cover this address
    #[arg(long, value_name = "ADDR")]
    to: Option<IpAddr>,
    /// Only routes in use
    #[arg(long, short)]
    selected: bool,
    #[command(flatten)]
    node: ControlArgs,
}

pub(crate) async fn routes(args: &RoutesArgs, output: &Output) -> Outcome {
    let control = Control::new(&args.node)?;
    let mut routes = control.client.routes().await.map_err(|e| control.explain(e))?;
    routes.retain(|r| {
        args.to.is_none_or(|to| r.prefix.contains(&to))
            && args.prefix.is_none_or(|target| is_about(&r.prefix, &target))
            && (r.selected || !args.selected)
    });
    output.show(&routes, |r| render::routes(r))
}

#[derive(Debug, clap::Args)]
pub(crate) struct MembersArgs {
    #[command(flatten)]
    node: ControlArgs,
}

pub(crate) async fn members(args: &MembersArgs, output: &Output) -> Outcome {
    let control = Control::new(&args.node)?;
    let mut members = control.client.members().await.map_err(|e| control.explain(e))?;
    members.sort_by(|a, b| a.name.cmp(&b.name));
    output.show(&members, |m| render::members(m, crate::format::now()))
}
