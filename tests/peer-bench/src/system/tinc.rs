//! tinc 1.0 in router mode; each node connects to the earlier nodes that it is linked with.

use super::{
    Network, System,
    daemons::{Daemons, Node},
    directory, numbered, write_secret,
};
use crate::{
    install::{Programs, Source},
    topology::Topology,
};
use anyhow::{Context, Result};
use osier_e2e::mesh::output;
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
};

const NETWORK: u16 = 0xfd94;

pub(super) struct Tinc;

impl System for Tinc {
    fn name(&self) -> &'static str {
        "tinc"
    }

    fn source(&self) -> Source {
        Source::Debian(&[("tincd", "tinc")])
    }

    fn is_mesh(&self) -> bool {
        true
    }

    fn configure<'a>(
        &self,
        programs: &Programs,
        topology: &'a Topology<'_>,
    ) -> Result<Box<dyn Network + 'a>> {
        let program = programs.path("tincd")?;
        let (mut directories, mut entries) = (Vec::new(), Vec::new());
        for (node, host) in topology.hosts.iter().enumerate() {
            let own = directory(topology.lab, "tinc", node)?;
            fs::create_dir_all(own.join("hosts"))?;
            let earlier = topology.links.iter().filter(|(_, later)| *later == node);
            let connect: String = earlier.map(|(e, _)| format!("ConnectTo = n{e}\n")).collect();
            write_secret(
                &own.join("tinc.conf"),
                &format!("Name = n{node}\nInterface = tinc0\nAddressFamily = ipv4\n{connect}"),
            )?;
            let address = numbered(NETWORK, node);
            script(
                &own.join("tinc-up"),
                &format!(
                    "#!/bin/sh\nip link set dev tinc0 up\nip address add {address}/64 dev tinc0 nodad\n"
                ),
            )?;
            let entry = own.join(format!("hosts/n{node}"));
            write_secret(
                &entry,
                &format!("Address = {}\nSubnet = {address}/128\n", host.public),
            )?;
            // It asks where to put the keys; with no answer it takes what we want.
            let mut command = Command::new(program);
            command
                .arg("-c")
                .arg(&own)
                .args(["-K", "2048"])
                .stdin(Stdio::null());
            output(&mut command)?;
            entries.push((format!("n{node}"), fs::read_to_string(&entry)?));
            directories.push(own);
        }
        for own in &directories {
            for (name, entry) in &entries {
                fs::write(own.join("hosts").join(name), entry).context("cannot write hosts")?;
            }
        }
        let nodes = directories.into_iter().enumerate().map(|(node, own)| {
            let pid = format!("--pidfile={}", own.join("pid").display());
            Node {
                address: numbered(NETWORK, node),
                arguments: vec!["-c".into(), own.into(), "-D".into(), pid.into()],
            }
        });
        Ok(Box::new(Daemons::new(
            topology,
            self.name(),
            program,
            nodes.collect(),
        )))
    }
}

fn script(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
    Ok(())
}
