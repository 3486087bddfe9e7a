//! What can be done to a world: hosts enrolled, started, killed, stopped, revoked, and made to ping.

use crate::{
    Host, HostId, HostOptions, NatOptions, Probe, Traffic, World,
    host::Disk,
    queue::{Happening, RegistryReply},
    random,
    underlay::{self, Nat},
    world::{PORT, REGISTRY_RTT},
};
use core::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};
use osier_dataplane::Forwarder;
use osier_proto::{
    Node, Snapshot,
    identity::SecretKeys,
    node::{Command, Config},
    packet::{UdpHeader, udp_packet},
    revocation::RevocationList,
};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

impl World {
    /// Enrols a host; it does not run yet.
    pub fn add_host(&mut self, options: HostOptions) -> HostId {
        let id = HostId(self.hosts.len() as u32);
        let mut entropy = [0; 64];
        entropy[..32].copy_from_slice(&random::derive(self.seed, "signing key", &[id.0.into()]));
        entropy[32..].copy_from_slice(&random::derive(self.seed, "tunnel key", &[id.0.into()]));
        let keys = Arc::new(SecretKeys::from_entropy(entropy));
        let now = self.wall_clock();
        let certificate = self.registry.certify(&keys, id.0, options.more_prefixes, now);
        self.by_key.insert(certificate.tunnel_key, id);
        let nat = match options.nat {
            NatOptions::None => None,
            NatOptions::Restricted => Some(Nat::new(id, false)),
            NatOptions::Mapped => Some(Nat::new(id, true)),
        };
        let inside = Ipv4Addr::new(192, 168, 1, 2).into();
        let ip = if nat.is_some() {
            inside
        } else {
            underlay::public_ip(id)
        };
        let snapshot = Snapshot::new(
            certificate.address(),
            certificate.prefixes.clone(),
            self.registry.network().prefix,
        );
        self.hosts.push(Host {
            id,
            options,
            keys,
            certificate,
            disk: Disk::default(),
            nat,
            socket: SocketAddr::new(ip, PORT),
            is_connected: true,
            is_awake: true,
            boot: 0,
            node: None,
            forwarder: Forwarder::new(),
            snapshot: Arc::new(snapshot),
            wake: None,
            traffic: Traffic::default(),
            table_changes: 0,
            delivered: 0,
            inbox: VecDeque::new(),
            wakes: BTreeMap::new(),
            stopped: None,
        });
        id
    }

    pub fn add_hosts(&mut self, count: usize, options: &HostOptions) -> Vec<HostId> {
        (0..count).map(|_| self.add_host(options.clone())).collect()
    }

    /// Starts a host with what is on its disk.
    pub fn start(&mut self, id: HostId) {
        let now = self.now;
        let wall_clock = self.wall_clock();
        let network = self.registry.network().clone();
        let seed = self.seed;
        let host = &mut self.hosts[id.0 as usize];
        host.boot += 1;
        let config = Config {
            keys: Arc::clone(&host.keys),
            certificate: host.certificate.clone(),
            network,
            revocations: host.disk.revocations.clone(),
            bundles: host.disk.bundles.clone(),
            mesh: host.options.mesh.clone(),
            engine: self.engine,
            seqno: host.disk.seqno.wrapping_add(1),
            wall_clock,
            record_sequence: host.disk.record_sequence,
        };
        let node_seed = random::derive(seed, "node", &[id.0.into(), host.boot.into()]);
        let mut node = Node::new(config, node_seed, now).expect("a certificate of this network");
        node.handle_network_change(vec![host.socket], now);
        if let Some(nat) = host.nat.as_ref().filter(|n| n.mapped) {
            node.handle_mapping(Some(nat.external()), now);
        }
        host.forwarder = Forwarder::new();
        host.node = Some(node);
        host.wake = None;
        host.stopped = None;
        self.record(b"start", id, &[]);
        self.pump(id);
    }

    /// Starts hosts one after the other, `apart` from each other.
    pub fn start_all(&mut self, hosts: &[HostId], apart: Duration) {
        for &host in hosts {
            self.start(host);
            self.run_for(apart);
        }
    }

    /// The host is gone without a word.
    pub fn kill(&mut self, id: HostId) {
        self.record(b"kill", id, &[]);
        let host = &mut self.hosts[id.0 as usize];
        host.node = None;
        host.wake = None;
    }

    /// Begins a planned stop; [`Host::stopped`] tells when it is complete.
    pub fn stop(&mut self, id: HostId) {
        self.record(b"stop", id, &[]);
        self.command(id, Command::Stop);
    }

    /// The host is in another network: its NAT's public address stays, its mapping and its own address are new. `None`:
    /// it is in none, and told so.
    pub fn change_network(&mut self, id: HostId, to: Option<Ipv4Addr>) {
        self.record(b"network", id, &[]);
        let now = self.now;
        let host = &mut self.hosts[id.0 as usize];
        host.is_connected = to.is_some();
        if let Some(nat) = &mut host.nat {
            nat.restart();
        }
        let local: Vec<SocketAddr> = to
            .map(|ip| SocketAddr::new(ip.into(), PORT))
            .into_iter()
            .collect();
        if let Some(&address) = local.first() {
            host.socket = address;
        }
        if let Some(node) = &mut host.node {
            node.handle_network_change(local, now);
            self.pump(id);
        }
    }

    /// The host's machine sleeps: until it wakes it gets nothing and does nothing, and its NAT forgets it.
    pub fn suspend(&mut self, id: HostId) {
        self.record(b"suspend", id, &[]);
        self.hosts[id.0 as usize].is_awake = false;
    }

    /// The host's machine is back; what was due meanwhile is done now.
    pub fn wake(&mut self, id: HostId) {
        self.record(b"wake up", id, &[]);
        let now = self.now;
        let host = &mut self.hosts[id.0 as usize];
        host.is_awake = true;
        host.wake = None;
        if let Some(node) = host
            .node
            .as_mut()
            .filter(|n| n.poll_timeout().is_some_and(|(at, _)| at <= now))
        {
            node.handle_timeout(now);
        }
        self.pump(id);
    }

    pub fn command(&mut self, id: HostId, command: Command) {
        let now = self.now;
        if let Some(node) = &mut self.hosts[id.0 as usize].node {
            node.handle_command(command, now);
            self.pump(id);
        }
    }

    /// Revokes a host's certificate; `told` hear it from the registry, everybody else by gossip.
    pub fn revoke(&mut self, id: HostId, told: &[HostId]) {
        self.record(b"revoke", id, &[]);
        let list: RevocationList = self.registry.revoke(self.host(id).certificate.node);
        for &host in told {
            let command = Box::new(Command::SetRevocations(list.clone()));
            let boot = self.host(host).boot;
            self.schedule(
                self.now + REGISTRY_RTT,
                Happening::Registry(host, boot, RegistryReply::Run(command)),
            );
        }
    }

    /// A program on one host sends a UDP datagram to another host; see [`Host::inbox`].
    pub fn send_data(&mut self, from: HostId, to: HostId, payload: &[u8]) {
        let header = UdpHeader {
            source: self.host(from).address(),
            destination: self.host(to).address(),
            hop_limit: 64,
            source_port: 5000,
            destination_port: 5000,
        };
        let packet = udp_packet(&header, payload).expect("a payload that fits");
        self.originate(from, packet);
        self.pump(from);
    }

    /// Sends an echo request through the mesh; see [`World::probes`].
    pub fn probe(&mut self, from: HostId, to: HostId) -> u64 {
        let id = self.next_probe;
        self.next_probe += 1;
        self.probes.insert(
            id,
            Probe {
                from,
                to,
                sent: self.now,
                answered: None,
                error: None,
            },
        );
        let target = self.host(to).address();
        self.command(
            from,
            Command::Probe {
                id,
                target,
                hop_limit: 64,
                payload: 32,
            },
        );
        id
    }
}
