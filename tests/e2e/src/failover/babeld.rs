//! The drill for babeld at its default settings, on wires that form a given graph.

use super::{Contender, count, counted, cut_off, reconnect};
use crate::prober::End;
use anyhow::{Context, Result};
use osier_lab::{Lab, Netns, Process, tool};
use serde_json::Value;
use std::{net::Ipv6Addr, path::PathBuf, time::Duration};

struct Router {
    netns: Netns,
    interfaces: Vec<String>,
    daemon: Option<Process>,
}

pub struct Babeld {
    routers: Vec<Router>,
    program: PathBuf,
}

fn address(node: usize) -> Ipv6Addr {
    Ipv6Addr::new(0xfd99, 0, 0, 0, 0, 0, 1, node as u16)
}

/// The interface that leads to a node.
fn interface_to(node: usize) -> String {
    format!("to{node}")
}

impl Babeld {
    /// A router for each node, a wire for each edge, and a babeld on each router.
    pub fn start(lab: &Lab, nodes: usize, edges: &[(usize, usize)]) -> Result<Self> {
        let mut routers = Vec::new();
        for node in 0..nodes {
            let netns = lab.netns(&format!("b{node}"))?;
            netns.forwarding()?;
            netns.address("lo", &format!("{}/128", address(node)))?;
            count(&netns, "!= \"lo\"", "icmpv6 type { echo-request, echo-reply }")?;
            routers.push(Router {
                netns,
                interfaces: Vec::new(),
                daemon: None,
            });
        }
        for &(a, b) in edges {
            let names = (interface_to(b), interface_to(a));
            lab.veth((&routers[a].netns, &names.0), (&routers[b].netns, &names.1))?;
            routers[a].interfaces.push(names.0);
            routers[b].interfaces.push(names.1);
        }
        let program = tool("babeld", "babeld")?;
        let mut babeld = Self { routers, program };
        (0..nodes).try_for_each(|node| babeld.start_daemon(node))?;
        Ok(babeld)
    }

    fn start_daemon(&mut self, node: usize) -> Result<()> {
        let router = self.routers.get_mut(node).context("no such node")?;
        let file = |suffix: &str| router.netns.directory().join(format!("b{node}.{suffix}"));
        let mut command = router.netns.command(&self.program);
        command.args(["-c", "/dev/null", "-I"]).arg(file("pid"));
        command.arg("-S").arg(file("state"));
        // A killed predecessor leaves its own behind, and its routes.
        let _ = std::fs::remove_file(file("pid"));
        router.netns.run("ip -6 route flush proto 42")?;
        for statement in ["redistribute local if lo allow", "redistribute local deny"] {
            command.args(["-C", statement]);
        }
        command.args(&router.interfaces);
        router.daemon = Some(router.netns.spawn("babeld", command)?);
        Ok(())
    }
}

impl Contender for Babeld {
    fn name(&self) -> &'static str {
        "babeld"
    }

    fn patience(&self) -> (Duration, Duration) {
        (Duration::from_secs(6), Duration::from_secs(60))
    }

    /// It smooths metrics: a link that is back is trusted after a while only.
    fn rest(&self) -> Duration {
        Duration::from_secs(12)
    }

    fn ends(&self) -> Result<Vec<End>> {
        let end = |(node, router): (usize, &Router)| End {
            name: router.netns.name().to_owned(),
            netns: router.netns.path().to_owned(),
            address: address(node),
        };
        Ok(self.routers.iter().enumerate().map(end).collect())
    }

    fn next_hops(&self) -> Result<Vec<Vec<Option<usize>>>> {
        let of = |router: &Router| {
            let routes: Value = serde_json::from_str(&router.netns.run("ip -j -6 route show")?)?;
            let mut next = vec![None; self.routers.len()];
            for route in routes.as_array().context("ip printed no list")? {
                let to = route["dst"].as_str().and_then(|dst| dst.parse::<Ipv6Addr>().ok());
                let node = to.and_then(|to| (0..next.len()).find(|node| address(*node) == to));
                let via = route["dev"]
                    .as_str()
                    .and_then(|dev| dev.strip_prefix("to")?.parse().ok());
                if let (Some(node), Some(via)) = (node, via) {
                    next[node] = Some(via);
                }
            }
            Ok(next)
        };
        self.routers.iter().map(of).collect()
    }

    fn kill(&mut self, node: usize) -> Result<()> {
        let router = self.routers.get_mut(node).context("no such node")?;
        cut_off(&router.netns)?;
        router.daemon = None;
        Ok(())
    }

    fn restart(&mut self, node: usize) -> Result<()> {
        reconnect(&self.routers.get(node).context("no such node")?.netns)?;
        self.start_daemon(node)
    }

    fn control(&self) -> Result<Vec<(u64, u64)>> {
        self.routers.iter().map(|r| counted(&r.netns)).collect()
    }
}
