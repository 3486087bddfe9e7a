//! A network that is one program on each host, told everything by its arguments.

use super::Network;
use crate::topology::Topology;
use anyhow::Result;
use osier_lab::Process;
use std::{ffi::OsString, net::Ipv6Addr, path::PathBuf};

pub(super) struct Daemons<'a> {
    topology: &'a Topology<'a>,
    name: &'static str,
    program: PathBuf,
    nodes: Vec<Node>,
    processes: Vec<Process>,
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
            processes: Vec::new(),
        }
    }
}

impl Network for Daemons<'_> {
    fn up(&mut self) -> Result<()> {
        for (host, node) in self.topology.hosts.iter().zip(&self.nodes) {
            let mut command = host.netns.command(&self.program);
            command.args(&node.arguments);
            self.processes.push(host.netns.spawn(self.name, command)?);
        }
        Ok(())
    }

    fn addresses(&self) -> Vec<Ipv6Addr> {
        self.nodes.iter().map(|node| node.address).collect()
    }

    fn processes(&self, node: usize) -> Vec<u32> {
        self.processes.get(node).map(Process::id).into_iter().collect()
    }
}
