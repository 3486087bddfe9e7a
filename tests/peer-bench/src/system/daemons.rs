//! A network that is one program on each host, told everything by its arguments.

use super::{Network, Processes};
use crate::topology::Topology;
use anyhow::Result;
use std::{ffi::OsString, net::Ipv6Addr, path::PathBuf};

pub(super) struct Daemons<'a> {
    topology: &'a Topology<'a>,
    name: &'static str,
    program: PathBuf,
    nodes: Vec<Node>,
    processes: Processes,
}

pub(super) struct Node {
    pub(super) address: Ipv6Addr,
    pub(super) arguments: Vec<OsString>,
}

impl<'a> Daemons<'a> {
    /// `nodes`: of each host, in order.
    pub(super) fn new(
        topology: &'a Topology<'a>,
        name: &'static str,
        program: impl Into<PathBuf>,
        nodes: Vec<Node>,
    ) -> Self {
        Self {
            topology,
            name,
            program: program.into(),
            nodes,
            processes: Processes::default(),
        }
    }
}

impl Network for Daemons<'_> {
    fn up(&mut self) -> Result<()> {
        for (number, (host, node)) in self.topology.hosts.iter().zip(&self.nodes).enumerate() {
            let mut command = host.netns.command(&self.program);
            command.args(&node.arguments);
            self.processes.start(number, &host.netns, self.name, command)?;
        }
        Ok(())
    }

    fn addresses(&self) -> Vec<Ipv6Addr> {
        self.nodes.iter().map(|node| node.address).collect()
    }

    fn processes(&self, node: usize) -> Vec<u32> {
        self.processes.of(node)
    }
}
