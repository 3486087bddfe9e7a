//! `osier nodes` and `osier revoke`: who belongs to the network.

use super::operator::with_registry;
use crate::{
    exit::Outcome,
    format,
    output::{Output, table},
    paths::RegistryDirArgs,
};
use osier_registry::NodeInfo;

#[derive(Debug, clap::Args)]
pub(crate) struct NodesArgs {
    #[command(flatten)]
    dir: RegistryDirArgs,
}

pub(crate) async fn nodes(args: &NodesArgs, output: &Output) -> Outcome {
    let nodes = with_registry(&args.dir, async |r| r.list_nodes().await).await?;
    output.show(&nodes, |n| render(n, format::now()))
}

#[derive(Debug, clap::Args)]
pub(crate) struct RevokeArgs {
    /// The node's name, or its node id or the start of it
    node: String,
    #[command(flatten)]
    dir: RegistryDirArgs,
}

pub(crate) async fn revoke(args: &RevokeArgs, output: &Output) -> Outcome {
    let revoked = with_registry(&args.dir, async |r| r.revoke_node(&args.node).await).await?;
    output.show(&revoked, |r| match r.already {
        true => format!("{} was revoked before\n", r.name),
        false => format!(
            "{} is revoked; the others drop it as soon as they hear of it\n",
            r.name
        ),
    })
}

fn render(nodes: &[NodeInfo], now: u64) -> String {
    if nodes.is_empty() {
        return "no node has joined yet\n".into();
    }
    table(
        ["NAME", "ADDRESS", "PREFIX", "STATE", "JOINED", "NODE ID"],
        &[],
        nodes.iter().map(|n| {
            let state = match n {
                NodeInfo { revoked: true, .. } => "revoked".into(),
                _ if n.not_after.0 <= now => format!("expired {}", format::relative(n.not_after.0, now)),
                _ => format!("valid, expires {}", format::relative(n.not_after.0, now)),
            };
            [
                n.name.clone(),
                n.address.to_string(),
                n.prefix.to_string(),
                state,
                format::utc(n.enrolled.0),
                n.node.to_string(),
            ]
        }),
    )
}
