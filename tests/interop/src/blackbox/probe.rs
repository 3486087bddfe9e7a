//! Crafted neighbours on real links: what they send, and what is sent to them.
//!
//! Several neighbours share a link; each is a link-local address of the probe's interface. They greet like any
//! daemon, acknowledge what they are asked to, and keep a log of every packet that passes by.

use super::decode::decode;
use super::encode::{self, Tlv};
use super::sign::{CHALLENGE_REPLY, Signature, Signer, parse_keys, verified};
use crate::{Key, Router};
use nix::libc;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn6, recvmsg, sendmsg, setsockopt, sockopt,
};
use osier_lab::{Error, Netns, Result};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde::Deserialize;
use serde_json::Value;
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::BTreeMap;
use std::io::{IoSlice, IoSliceMut};
use std::net::{Ipv6Addr, SocketAddrV6};
use std::num::NonZeroU32;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub(super) const PORT: u16 = 6696;
pub(super) const GROUP: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 6);

/// How a crafted neighbour behaves when no step says otherwise.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Manners {
    /// Of the links to the daemon, 0 or 1.
    pub link: usize,
    /// Not there until a step starts it.
    pub later: bool,
    /// What its Hellos promise, in hundredths of a second.
    pub hello_interval: u16,
    /// Time between two Hellos: shorter than promised, so that a busy machine makes no difference.
    pub every_ms: u64,
    /// Unicast Hellos only.
    pub unicast: bool,
    /// What its IHUs say; absent: it sends none.
    pub cost: Option<u16>,
    /// For whoever receives it (encoding 0), sent by unicast.
    pub anonymous_ihu: bool,
    /// Acknowledges what it is asked to.
    pub acknowledges: bool,
    /// Sub-TLVs of its Hellos, in hexadecimal.
    pub hello_sub: String,
    /// MAC keys, if not the daemon's.
    pub keys: Option<Vec<String>>,
    /// Answers challenges.
    pub meets_challenges: bool,
}

impl Default for Manners {
    fn default() -> Self {
        Self {
            link: 0,
            later: false,
            hello_interval: 400,
            every_ms: 1000,
            unicast: false,
            cost: Some(96),
            anonymous_ihu: false,
            acknowledges: true,
            hello_sub: String::new(),
            keys: None,
            meets_challenges: true,
        }
    }
}

/// A packet that the daemon sent.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub link: usize,
    pub from: Ipv6Addr,
    pub to: Ipv6Addr,
    pub port: u16,
    pub hop_limit: i32,
    pub size: usize,
    pub at: Duration,
    pub tlvs: Vec<Value>,
    pub trailer: Vec<Value>,
    /// How many of the daemon's keys have signed it.
    pub signed_by: usize,
}

/// Where a packet claims to come from and goes to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Envelope {
    pub link: usize,
    pub from: Ipv6Addr,
    /// To the daemon itself; otherwise to the group.
    pub unicast: bool,
    pub port: u16,
    pub hop_limit: i32,
}

#[derive(Debug)]
struct Link {
    netns: Netns,
    index: u32,
    socket: Socket,
    daemon: Ipv6Addr,
}

#[derive(Debug)]
struct Neighbour {
    address: Ipv6Addr,
    manners: Manners,
    alive: bool,
    seqno: u16,
    next: Instant,
    signer: Signer,
}

#[derive(Debug)]
struct Inner {
    links: Vec<Link>,
    neighbours: Mutex<BTreeMap<String, Neighbour>>,
    log: Mutex<Vec<Seen>>,
    keys: Vec<Key>,
    started: Instant,
    stopping: AtomicBool,
}

/// All crafted neighbours of one daemon.
#[derive(Debug)]
pub(super) struct Probe {
    inner: Arc<Inner>,
    threads: Vec<JoinHandle<()>>,
}

impl Probe {
    /// One link per router in `ends`, each joined to `daemon` before. Records from now on; nobody greets yet.
    pub(super) fn new(
        daemon: &Router,
        ends: &[&Router],
        neighbours: &BTreeMap<String, Manners>,
        keys: &[Key],
    ) -> Result<Self> {
        let mut known = BTreeMap::new();
        for (number, (name, manners)) in neighbours.iter().enumerate() {
            let address = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0xb0b, number as u16 + 1);
            let end = ends
                .get(manners.link)
                .ok_or_else(|| Error::new(format!("neighbour {name}: no link {}", manners.link)))?;
            end.netns
                .address(&crate::interface_to(daemon), &format!("{address}/64"))?;
            let signing = manners
                .keys
                .as_ref()
                .map_or(Ok(keys.to_vec()), |keys| parse_keys(keys))?;
            known.insert(
                name.clone(),
                Neighbour {
                    address,
                    manners: manners.clone(),
                    alive: false,
                    seqno: 100 * (number as u16 + 1),
                    next: Instant::now(),
                    signer: Signer::new(signing, number as u8 + 1),
                },
            );
        }
        let links = ends
            .iter()
            .map(|end| Link::open(daemon, end))
            .collect::<Result<_>>()?;
        let inner = Arc::new(Inner {
            links,
            neighbours: Mutex::new(known),
            log: Mutex::default(),
            keys: keys.to_vec(),
            started: Instant::now(),
            stopping: AtomicBool::new(false),
        });
        let mut threads = Vec::new();
        for link in 0..inner.links.len() {
            let inner = inner.clone();
            threads.push(std::thread::spawn(move || inner.listen(link)));
        }
        let greeter = inner.clone();
        threads.push(std::thread::spawn(move || greeter.greet()));
        Ok(Self { inner, threads })
    }

    /// Neighbours that are there from the beginning greet now.
    pub(super) fn begin(&self) -> Result<()> {
        let names: Vec<String> = lock(&self.inner.neighbours)
            .iter()
            .filter(|(_, neighbour)| !neighbour.manners.later)
            .map(|(name, _)| name.clone())
            .collect();
        names.iter().try_for_each(|name| self.start(name))
    }

    /// A neighbour appears: three Hellos at once, as much as any daemon wants, and an IHU.
    pub(super) fn start(&self, name: &str) -> Result<()> {
        self.with(name, |neighbour| {
            neighbour.alive = true;
            neighbour.next = Instant::now() + Duration::from_millis(neighbour.manners.every_ms);
        })?;
        for _ in 0..3 {
            self.inner.send_greeting(name);
        }
        Ok(())
    }

    /// A neighbour says nothing more by itself, nor acknowledges.
    pub(super) fn silence(&self, name: &str) -> Result<()> {
        self.with(name, |neighbour| neighbour.alive = false)
    }

    pub(super) fn address(&self, name: &str) -> Result<Ipv6Addr> {
        self.with(name, |neighbour| neighbour.address)
    }

    pub(super) fn link(&self, name: &str) -> Result<usize> {
        self.with(name, |neighbour| neighbour.manners.link)
    }

    pub(super) fn daemon(&self, link: usize) -> Result<Ipv6Addr> {
        self.inner
            .links
            .get(link)
            .map(|link| link.daemon)
            .ok_or_else(|| Error::new(format!("no link {link}")))
    }

    /// Names and addresses.
    pub(super) fn neighbours(&self) -> Vec<(String, Ipv6Addr)> {
        lock(&self.inner.neighbours)
            .iter()
            .map(|(name, neighbour)| (name.clone(), neighbour.address))
            .collect()
    }

    /// Addresses of living neighbours that can sign as the daemon wants.
    pub(super) fn signers(&self) -> Vec<String> {
        lock(&self.inner.neighbours)
            .values()
            .filter(|n| n.alive && n.manners.meets_challenges && n.signer.shares(&self.inner.keys))
            .map(|n| n.address.to_string())
            .collect()
    }

    /// The Hello seqno that the neighbour would use next, and the new one.
    pub(super) fn jump(&self, name: &str, by: u16) -> Result<()> {
        self.with(name, |neighbour| {
            neighbour.seqno = neighbour.seqno.wrapping_add(by)
        })
    }

    pub(super) fn send(&self, envelope: Envelope, payload: &[u8]) -> Result<()> {
        self.inner.send(envelope, payload)
    }

    /// Signed as this neighbour would, or as told; gives what was sent.
    pub(super) fn send_signed(
        &self,
        name: &str,
        envelope: Envelope,
        payload: &[u8],
        how: &Signature,
    ) -> Result<Vec<u8>> {
        self.inner.send_signed(name, envelope, payload, how)
    }

    /// How many packets were seen so far.
    pub(super) fn mark(&self) -> usize {
        lock(&self.inner.log).len()
    }

    /// Packets seen since `mark`.
    pub(super) fn seen(&self, mark: usize) -> Vec<Seen> {
        lock(&self.inner.log).get(mark..).unwrap_or_default().to_vec()
    }

    /// The last packets, for a failure's message.
    pub(super) fn story(&self) -> String {
        let log = lock(&self.inner.log);
        log.iter()
            .skip(log.len().saturating_sub(12))
            .map(|seen| {
                let tlvs: Vec<String> = seen.tlvs.iter().map(Value::to_string).collect();
                format!(
                    "  {:>6} ms link {} {} to {}: {}\n",
                    seen.at.as_millis(),
                    seen.link,
                    seen.from,
                    seen.to,
                    tlvs.join("\n      ")
                )
            })
            .collect()
    }

    fn with<T>(&self, name: &str, act: impl FnOnce(&mut Neighbour) -> T) -> Result<T> {
        lock(&self.inner.neighbours)
            .get_mut(name)
            .map(act)
            .ok_or_else(|| Error::new(format!("no neighbour {name}")))
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.inner.stopping.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // One that panicked has said so already.
            let _ = thread.join();
        }
    }
}

impl Inner {
    fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    fn greet(&self) {
        while !self.stopping() {
            let now = Instant::now();
            let mut due = Vec::new();
            for (name, neighbour) in lock(&self.neighbours).iter_mut() {
                if neighbour.alive && neighbour.next <= now {
                    neighbour.next = now + Duration::from_millis(neighbour.manners.every_ms);
                    due.push(name.clone());
                }
            }
            due.iter().for_each(|name| self.send_greeting(name));
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Errors do not matter here: a wire may be down on purpose.
    fn send_greeting(&self, name: &str) {
        let greeting = {
            let mut neighbours = lock(&self.neighbours);
            let Some(neighbour) = neighbours.get_mut(name) else {
                return;
            };
            neighbour.seqno = neighbour.seqno.wrapping_add(1);
            (neighbour.address, neighbour.manners.clone(), neighbour.seqno)
        };
        let (from, manners, seqno) = greeting;
        let envelope = |unicast| Envelope {
            link: manners.link,
            from,
            unicast,
            port: PORT,
            hop_limit: 1,
        };
        let hello = Tlv::Hello {
            flags: if manners.unicast { 0x8000 } else { 0 },
            seqno,
            interval: manners.hello_interval,
            sub: manners.hello_sub.clone(),
        };
        let daemon = self.links[manners.link].daemon;
        let ihu = manners.cost.map(|cost| Tlv::Ihu {
            address: (!manners.anonymous_ihu).then_some(daemon.into()),
            cost,
            interval: manners.hello_interval.saturating_mul(3),
            reserved: 0,
            sub: String::new(),
        });
        let apart = manners.anonymous_ihu && !manners.unicast;
        let packets = match ihu {
            Some(ihu) if apart => vec![(vec![hello], false), (vec![ihu], true)],
            Some(ihu) => vec![(vec![hello, ihu], manners.unicast)],
            None => vec![(vec![hello], manners.unicast)],
        };
        for (tlvs, unicast) in packets {
            let payload = encode::encode(&tlvs).and_then(|body| encode::packet(&body, &[]));
            let _ = payload.and_then(|payload| {
                self.send_signed(name, envelope(unicast), &payload, &Signature::default())
            });
        }
    }

    fn send_signed(
        &self,
        name: &str,
        envelope: Envelope,
        payload: &[u8],
        how: &Signature,
    ) -> Result<Vec<u8>> {
        let mut neighbours = lock(&self.neighbours);
        let neighbour = neighbours
            .get_mut(name)
            .ok_or_else(|| Error::new(format!("no neighbour {name}")))?;
        let to = if envelope.unicast {
            self.links[envelope.link].daemon
        } else {
            GROUP
        };
        let signed = neighbour.signer.sign(payload, envelope.from, to, how)?;
        // Still under the lock: counters must leave in order.
        self.send(envelope, &signed)?;
        Ok(signed)
    }

    fn send(&self, envelope: Envelope, payload: &[u8]) -> Result<()> {
        let link = &self.links[envelope.link];
        let other;
        let socket = if envelope.port == PORT {
            &link.socket
        } else {
            other = open(&link.netns, link.index, envelope.port)?;
            &other
        };
        let to = if envelope.unicast { link.daemon } else { GROUP };
        let from = libc::in6_pktinfo {
            ipi6_addr: libc::in6_addr {
                s6_addr: envelope.from.octets(),
            },
            ipi6_ifindex: link.index,
        };
        sendmsg(
            socket.as_raw_fd(),
            &[IoSlice::new(payload)],
            &[
                ControlMessage::Ipv6PacketInfo(&from),
                ControlMessage::Ipv6HopLimit(&envelope.hop_limit),
            ],
            MsgFlags::empty(),
            Some(&SockaddrIn6::from(SocketAddrV6::new(to, PORT, 0, link.index))),
        )
        .map(drop)
        .map_err(|e| Error::new(format!("cannot send from {}: {e}", envelope.from)))
    }

    fn listen(&self, number: usize) {
        let mut buffer = vec![0; 65_535];
        while !self.stopping() {
            let Some((mut seen, length)) = self.links[number].receive(&mut buffer) else {
                continue;
            };
            // A neighbour's packet from another port than Babel's is heard by the others here.
            if lock(&self.neighbours).values().any(|n| n.address == seen.from) {
                continue;
            }
            (seen.tlvs, seen.trailer) = decode(&buffer[..length], seen.from);
            seen.link = number;
            seen.at = self.started.elapsed();
            let macs: Vec<Vec<u8>> = seen
                .trailer
                .iter()
                .filter(|tlv| tlv["type"] == "mac")
                .filter_map(|tlv| encode::octets(tlv["octets"].as_str()?).ok())
                .collect();
            seen.signed_by = verified(&self.keys, &buffer[..length], seen.from, seen.to, &macs);
            self.acknowledge(&seen);
            self.meet_challenges(&seen);
            lock(&self.log).push(seen);
        }
    }

    fn acknowledge(&self, seen: &Seen) {
        let asked: Vec<u16> = seen
            .tlvs
            .iter()
            .filter(|tlv| tlv["type"] == "ack-request")
            .filter_map(|tlv| Some(tlv["opaque"].as_u64()? as u16))
            .collect();
        if asked.is_empty() {
            return;
        }
        let acks: Vec<Tlv> = asked.iter().map(|&opaque| Tlv::Ack { opaque }).collect();
        let payload = encode::encode(&acks).and_then(|body| encode::packet(&body, &[]));
        let Ok(payload) = payload else { return };
        for (name, from) in self.reached(seen, |manners| manners.acknowledges) {
            let _ = self.send_signed(&name, answer(seen, from), &payload, &Signature::default());
        }
    }

    /// A neighbour that is challenged proves that it is there now, and greets again.
    fn meet_challenges(&self, seen: &Seen) {
        let nonces: Vec<String> = seen
            .tlvs
            .iter()
            .filter(|tlv| tlv["type"] == "challenge")
            .filter_map(|tlv| tlv["nonce"].as_str().map(str::to_owned))
            .collect();
        if seen.to == GROUP {
            return;
        }
        for nonce in nonces {
            let body = encode::octets(&nonce).and_then(|nonce| encode::tlv(CHALLENGE_REPLY, &[&nonce]));
            let Ok(payload) = body.and_then(|body| encode::packet(&body, &[])) else {
                continue;
            };
            for (name, from) in self.reached(seen, |manners| manners.meets_challenges) {
                let _ = self.send_signed(&name, answer(seen, from), &payload, &Signature::default());
                (0..3).for_each(|_| self.send_greeting(&name));
            }
        }
    }

    /// Living neighbours that a packet went to.
    fn reached(&self, seen: &Seen, wanted: impl Fn(&Manners) -> bool) -> Vec<(String, Ipv6Addr)> {
        lock(&self.neighbours)
            .iter()
            .filter(|(_, n)| n.alive && wanted(&n.manners) && n.manners.link == seen.link)
            .filter(|(_, n)| seen.to == GROUP || seen.to == n.address)
            .map(|(name, n)| (name.clone(), n.address))
            .collect()
    }
}

/// By unicast to the daemon.
fn answer(seen: &Seen, from: Ipv6Addr) -> Envelope {
    Envelope {
        link: seen.link,
        from,
        unicast: true,
        port: PORT,
        hop_limit: 1,
    }
}

impl Link {
    fn open(daemon: &Router, end: &Router) -> Result<Self> {
        let interface = crate::interface_to(daemon);
        let text = end.netns.run(&format!("ip -o link show dev {interface}"))?;
        let index = text
            .split(':')
            .next()
            .and_then(|number| number.trim().parse().ok())
            .ok_or_else(|| Error::new(format!("no index in {text}")))?;
        Ok(Self {
            netns: end.netns.clone(),
            index,
            socket: open(&end.netns, index, PORT)?,
            daemon: daemon.netns.link_local(&crate::interface_to(end))?,
        })
    }

    /// The next packet and its length, if one comes soon.
    fn receive(&self, buffer: &mut [u8]) -> Option<(Seen, usize)> {
        let mut control = nix::cmsg_space!(libc::in6_pktinfo, libc::c_int);
        let mut parts = [IoSliceMut::new(buffer)];
        let message = recvmsg::<SockaddrIn6>(
            self.socket.as_raw_fd(),
            &mut parts,
            Some(&mut control),
            MsgFlags::empty(),
        )
        .ok()?;
        let address = message.address?;
        let mut seen = Seen {
            link: 0,
            from: address.ip(),
            to: Ipv6Addr::UNSPECIFIED,
            port: address.port(),
            hop_limit: 0,
            size: message.bytes,
            at: Duration::ZERO,
            tlvs: Vec::new(),
            trailer: Vec::new(),
            signed_by: 0,
        };
        for part in message.cmsgs().ok()? {
            match part {
                ControlMessageOwned::Ipv6PacketInfo(info) => {
                    seen.to = Ipv6Addr::from(info.ipi6_addr.s6_addr);
                }
                ControlMessageOwned::Ipv6HopLimit(limit) => seen.hop_limit = limit,
                _ => {}
            }
        }
        Some((seen, message.bytes))
    }
}

/// A socket inside a namespace. Only a thread can enter one, so this takes a thread of its own.
fn open(netns: &Netns, index: u32, port: u16) -> Result<Socket> {
    let path = netns.path().to_owned();
    let failed = |e: std::io::Error| Error::new(format!("cannot open a socket in a namespace: {e}"));
    std::thread::spawn(move || {
        let file = std::fs::File::open(path)?;
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?;
        let socket = Socket::new(Domain::IPV6, Type::DGRAM.cloexec(), Some(Protocol::UDP))?;
        socket.set_only_v6(true)?;
        socket.bind_device_by_index_v6(NonZeroU32::new(index))?;
        socket.set_multicast_if_v6(index)?;
        socket.set_multicast_loop_v6(false)?;
        socket.set_recv_buffer_size(1 << 21)?;
        socket.set_recv_hoplimit_v6(true)?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
        socket.bind(&SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, port, 0, 0).into())?;
        if port == PORT {
            socket.join_multicast_v6(&GROUP, index)?;
        }
        Ok(socket)
    })
    .join()
    .map_err(|_| Error::new("the thread that opens sockets panicked"))?
    .map_err(failed)
}

/// Nothing is left half-done by a panic here.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Seen {
    /// The envelope, as cases match against it.
    pub(super) fn envelope(&self) -> Value {
        let hellos = self.tlvs.iter().filter(|tlv| tlv["type"] == "hello").count();
        let kinds: Vec<&Value> = self.tlvs.iter().map(|tlv| &tlv["type"]).collect();
        let macs = self.trailer.iter().filter(|tlv| tlv["type"] == "mac").count();
        let pcs = self.tlvs.iter().filter(|tlv| tlv["type"] == "pc").count();
        serde_json::json!({"link": self.link, "from": self.from.to_string(), "to": self.to.to_string(),
            "port": self.port, "hop_limit": self.hop_limit, "size": self.size, "hellos": hellos, "types": kinds,
            "macs": macs, "pcs": pcs, "signed_by": self.signed_by, "link_local": self.from.is_unicast_link_local()})
    }
}
