//! Crafted neighbours on real links: what they send, and what is sent to them.
//!
//! Several neighbours share a link; each is a link-local address of the probe's interface. They greet like any
//! daemon, acknowledge what they are asked to, and keep a log of every packet that passes by.

use super::decode::decode;
use super::encode::{self, Tlv};
use super::link::{Envelope, GROUP, Link, PORT, Seen};
use super::sign::{CHALLENGE_REPLY, Signature, Signer, parse_keys, verified};
use crate::{Key, Router};
use osier_lab::{Error, Result};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::Ipv6Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What the clock of a crafted neighbour shows, always.
const INSTANT: &str = "00c0ffee";

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
    /// Answers every timestamped Hello after so long, as if the link had this round-trip time (RFC 9616).
    pub round_trip_ms: Option<u64>,
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
            round_trip_ms: None,
            keys: None,
            meets_challenges: true,
        }
    }
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
    /// Hellos to be answered: when, by whom, and the timestamp to echo.
    echoes: Mutex<Vec<(Instant, String, String)>>,
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
            echoes: Mutex::default(),
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
            let echoes: Vec<_> = lock(&self.echoes).extract_if(.., |echo| echo.0 <= now).collect();
            for (_, name, timestamp) in echoes {
                self.greet_back(&name, Some(&timestamp));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn send_greeting(&self, name: &str) {
        self.greet_back(name, None);
    }

    /// A Hello and an IHU, which echoes a timestamp if there is one: received and answered at the same instant of
    /// the neighbour's clock. Errors do not matter here: a wire may be down on purpose.
    fn greet_back(&self, name: &str, timestamp: Option<&str>) {
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
            sub: timestamp.map_or(manners.hello_sub.clone(), |_| format!("0304{INSTANT}")),
        };
        let daemon = self.links[manners.link].daemon;
        let ihu = manners.cost.map(|cost| Tlv::Ihu {
            address: (!manners.anonymous_ihu).then_some(daemon.into()),
            cost,
            interval: manners.hello_interval.saturating_mul(3),
            reserved: 0,
            sub: timestamp.map_or(String::new(), |theirs| format!("0308{theirs}{INSTANT}")),
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
        self.links[envelope.link].send(envelope, payload)
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
            self.plan_echoes(&seen);
            self.acknowledge(&seen);
            self.meet_challenges(&seen);
            lock(&self.log).push(seen);
        }
    }

    fn plan_echoes(&self, seen: &Seen) {
        let hello = seen.tlvs.iter().find(|tlv| tlv["type"] == "hello");
        let Some(timestamp) = hello.and_then(|hello| hello["timestamp"][0].as_str()) else {
            return;
        };
        for (name, neighbour) in lock(&self.neighbours).iter() {
            let wanted = neighbour.alive && neighbour.manners.link == seen.link;
            if let Some(delay) = neighbour.manners.round_trip_ms.filter(|_| wanted) {
                let when = Instant::now() + Duration::from_millis(delay);
                lock(&self.echoes).push((when, name.clone(), timestamp.to_owned()));
            }
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

/// Nothing is left half-done by a panic here.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
