//! `osier topology`: a picture of what this node knows of its network.

use crate::{
    control::Control,
    exit::{Failure, Outcome},
    output::Output,
    paths::ControlArgs,
    render,
};
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(crate) struct TopologyArgs {
    /// Draw it into a file; `-` for standard output
    #[arg(long, value_name = "FILE", conflicts_with = "dot")]
    svg: Option<PathBuf>,
    /// Print it for Graphviz
    #[arg(long)]
    dot: bool,
    #[command(flatten)]
    node: ControlArgs,
}

pub(crate) async fn topology(args: &TopologyArgs, output: &Output) -> Outcome {
    let control = Control::new(&args.node)?;
    let topology = control.client.topology().await.map_err(|e| control.explain(e))?;
    match &args.svg {
        Some(path) if path.as_os_str() == "-" => output.write(&render::svg(&topology)),
        Some(path) => {
            std::fs::write(path, render::svg(&topology))
                .map_err(|e| Failure::io(format!("cannot write {}", path.display()), &e))?;
            output.show(&serde_json::json!({ "svg": path }), |_| {
                format!("{} nodes drawn in {}\n", topology.nodes.len(), path.display())
            })
        }
        None if args.dot => output.write(&render::dot(&topology)),
        None => output.show(&topology, render::tree),
    }
}
