//! Runs a case and writes down what the speaker does.

use crate::case::{Action, Case, Kind, NeighbourSpec, PacketSpec, TlvSpec};
use crate::mac;
use osier_babel::wire::{self, Builder, Centis, HEADER, Tlv};
use osier_babel::{
    Authentication, AuthenticationMode, Authority, Config, CostModel, Destination, Duration, Event, INFINITY,
    Instant, InterfaceConfig, InterfaceId, IpNet, Limits, MULTICAST, RouteKey, RouterId, RttCost, Speaker,
    Standing, Target, Transmit, UpdateInfo, Verdict,
};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};

/// Runs a case to its end and returns the expected file's text.
pub fn run(case: &Case) -> Result<String, String> {
    let mut bench = Bench::new(case)?;
    for (number, step) in case.steps.iter().enumerate() {
        if let Some(at) = step.at {
            bench.run_to(Instant::from_micros(at * 1000));
        }
        bench
            .act(&step.action)
            .map_err(|error| format!("step {}: {error}", number + 1))?;
        bench.drain();
    }
    Ok(bench.log)
}

struct Bench<'a> {
    case: &'a Case,
    speaker: Speaker,
    now: Instant,
    /// Link-local addresses of our interfaces.
    addresses: BTreeMap<u32, Ipv6Addr>,
    neighbours: BTreeMap<(u32, Ipv6Addr), Neighbour>,
    /// Keys of our interfaces, to check what the speaker signs.
    keys: BTreeMap<u32, Vec<String>>,
    /// Acknowledgments that neighbours are about to send.
    acks: BTreeSet<(Instant, (u32, Ipv6Addr), u16)>,
    refused: Refused,
    log: String,
}

struct Neighbour {
    spec: NeighbourSpec,
    seqno: u16,
    next: Instant,
}

#[derive(Default)]
struct Refused(Vec<RouterId>);

impl Authority for Refused {
    fn authorise(&mut self, update: &UpdateInfo) -> Verdict {
        if self.0.contains(&update.router_id) {
            Verdict::Refuse
        } else {
            Verdict::Accept
        }
    }
}

impl<'a> Bench<'a> {
    fn new(case: &'a Case) -> Result<Self, String> {
        let mut limits = Limits::default();
        if let Some(limit) = case.speaker.neighbours_per_interface {
            limits.neighbours_per_interface = limit;
        }
        if let Some(limit) = case.speaker.prefixes_per_neighbour {
            limits.prefixes_per_neighbour = limit;
        }
        let config = Config {
            router_id: router_id(&case.speaker.router_id)?,
            seqno: case.speaker.seqno,
            seed: case.speaker.seed,
            limits,
            forwarding: case.speaker.forwarding.into(),
        };
        Ok(Self {
            case,
            speaker: Speaker::new(config, Instant::ZERO),
            now: Instant::ZERO,
            addresses: BTreeMap::new(),
            neighbours: BTreeMap::new(),
            keys: BTreeMap::new(),
            acks: BTreeSet::new(),
            refused: Refused::default(),
            log: String::new(),
        })
    }

    /// Lets time pass: timers fire and neighbours say Hello.
    fn run_to(&mut self, end: Instant) {
        loop {
            let timer = self.speaker.poll_timeout().map(|(at, _)| at);
            let hello = self
                .neighbours
                .iter()
                .map(|(key, neighbour)| (neighbour.next, *key))
                .min();
            let ack = self.acks.first().copied();
            let next = [timer, hello.map(|(at, _)| at), ack.map(|(at, ..)| at)]
                .into_iter()
                .flatten()
                .min();
            let Some(at) = next.filter(|at| *at <= end) else {
                break;
            };
            self.now = self.now.max(at);
            if timer == Some(at) {
                self.speaker.handle_timeout(self.now);
            } else if let Some((_, key)) = hello.filter(|(hello, _)| *hello == at) {
                self.greet(key);
            } else if let Some((_, key, opaque)) = self.acks.pop_first() {
                let mut builder = Builder::new(1232, key.1);
                builder.ack(opaque);
                let dst = self.addresses.get(&key.0).copied().unwrap_or(MULTICAST);
                self.deliver(key.0, key.1, dst, &builder.finish());
            }
            self.drain();
        }
        self.now = self.now.max(end);
    }

    fn greet(&mut self, key: (u32, Ipv6Addr)) {
        let own = self.addresses.get(&key.0).copied();
        let Some(neighbour) = self.neighbours.get_mut(&key) else {
            return;
        };
        let interval = Duration::from_millis(neighbour.spec.hello_ms);
        let mut builder = Builder::new(1232, key.1);
        builder.hello(
            neighbour.spec.unicast,
            neighbour.seqno,
            Centis::promising(interval),
        );
        builder.ihu(
            own.map(IpAddr::V6),
            neighbour.spec.cost,
            Centis::promising(interval * 3),
        );
        neighbour.seqno = neighbour.seqno.wrapping_add(1);
        neighbour.next += interval;
        let dst = own.filter(|_| neighbour.spec.unicast).unwrap_or(MULTICAST);
        self.deliver(key.0, key.1, dst, &builder.finish());
    }

    fn deliver(&mut self, interface: u32, src: Ipv6Addr, dst: Ipv6Addr, payload: &[u8]) {
        self.speaker.handle_packet(
            InterfaceId(interface),
            src,
            dst,
            payload,
            &mut self.refused,
            self.now,
        );
    }

    fn act(&mut self, action: &Action) -> Result<(), String> {
        let now = self.now;
        let speaker = &mut self.speaker;
        match action {
            Action::Interface(spec) => {
                self.addresses.insert(spec.id, spec.link_local);
                let config = InterfaceConfig {
                    cost_model: if spec.wired {
                        CostModel::TwoOutOfThree
                    } else {
                        CostModel::Etx
                    },
                    rx_cost: spec.rx_cost,
                    hello_interval: Duration::from_millis(spec.hello_ms),
                    update_interval: Duration::from_millis(spec.update_ms),
                    link_local: spec.link_local,
                    ipv4: spec.ipv4,
                    v4_via_v6: spec.v4_via_v6,
                    mtu: spec.mtu,
                    split_horizon: spec.split_horizon,
                    point_to_point: spec.point_to_point,
                    rtt: spec.rtt.map(|rtt| RttCost {
                        min: Duration::from_millis(rtt.min_ms),
                        max: Duration::from_millis(rtt.max_ms),
                        cost: rtt.cost,
                    }),
                };
                speaker.add_interface(InterfaceId(spec.id), config, now);
            }
            Action::RemoveInterface(id) => speaker.remove_interface(InterfaceId(*id), now),
            Action::Announce { prefix, metric } => speaker.announce(prefix.0, *metric, now),
            Action::Withdraw(prefix) => speaker.withdraw(prefix.0, now),
            Action::LinkUsable { interface, usable } => {
                speaker.set_link_usable(InterfaceId(*interface), *usable, now);
            }
            Action::HelloInterval { interface, ms } => {
                speaker.set_hello_interval(InterfaceId(*interface), Duration::from_millis(*ms), now);
            }
            Action::RxCost { interface, cost } => speaker.set_rx_cost(InterfaceId(*interface), *cost, now),
            Action::Penalty(penalty) => speaker.set_announce_penalty(*penalty, now),
            Action::Authenticate {
                interface,
                keys,
                sign_only,
            } => {
                let parsed = keys
                    .iter()
                    .map(|key| mac::key(key))
                    .collect::<Result<Vec<_>, _>>()?;
                let mode = if *sign_only {
                    AuthenticationMode::SignOnly
                } else {
                    AuthenticationMode::Require
                };
                let authentication = (!keys.is_empty()).then(|| Authentication {
                    keys: parsed,
                    mode,
                    entropy: [0; 32],
                });
                speaker.set_authentication(InterfaceId(*interface), authentication, now);
                self.keys.insert(*interface, keys.clone());
            }
            Action::RetractAll {} => speaker.retract_all(now),
            Action::RequestRoute { interface, prefix } => {
                speaker.request_route(InterfaceId(*interface), prefix.map(|route| route.0), now);
            }
            Action::Forwarding(spec) => speaker.set_forwarding((*spec).into(), now),
            Action::Refuse(id) => {
                self.refused.0.push(router_id(id)?);
                speaker.reauthorise(&mut self.refused, now);
            }
            Action::Neighbour(spec) => {
                let key = (spec.interface, spec.address);
                self.neighbours.insert(
                    key,
                    Neighbour {
                        spec: spec.clone(),
                        seqno: 1000,
                        next: now,
                    },
                );
                self.greet(key);
            }
            Action::Silence { interface, address } => {
                self.neighbours.remove(&(*interface, *address));
            }
            Action::Packet(spec) => {
                let dst = match self.addresses.get(&spec.interface) {
                    Some(address) if spec.unicast => *address,
                    _ => MULTICAST,
                };
                self.deliver(spec.interface, spec.from, dst, &payload(spec, dst)?);
            }
            Action::Routes {} => self.log_routes(),
            Action::MacCounters {} => self.log_mac_counters(),
            Action::Neighbours {} => self.log_neighbours(),
            Action::Wait {} => {}
        }
        Ok(())
    }

    fn drain(&mut self) {
        while let Some(event) = self.speaker.poll_event() {
            if self.records(Kind::Event) {
                self.line(&format!("event  {}", describe_event(&event)));
            }
        }
        while let Some(transmit) = self.speaker.poll_transmit() {
            self.log_transmit(&transmit);
        }
    }

    fn records(&self, kind: Kind) -> bool {
        self.case.record.is_empty() || self.case.record.contains(&kind)
    }

    fn line(&mut self, what: &str) {
        let millis = self.now.as_micros() / 1000;
        self.log.push_str(&format!("{millis:>7}  {what}\n"));
    }

    fn log_transmit(&mut self, transmit: &Transmit) {
        let source = self
            .addresses
            .get(&transmit.interface.0)
            .copied()
            .unwrap_or(Ipv6Addr::UNSPECIFIED);
        let to = match transmit.destination {
            Destination::Multicast => "all".to_owned(),
            Destination::Unicast(address) => address.to_string(),
        };
        for tlv in wire::parse(&transmit.payload, source).into_iter().flatten() {
            if let Ok(Tlv::AckRequest { opaque, .. }) = tlv {
                self.acknowledge(transmit, opaque);
            }
        }
        let mut tlvs: Vec<String> = match wire::parse(&transmit.payload, source) {
            Ok(tlvs) => tlvs
                .filter(|tlv| tlv.as_ref().map_or(true, |tlv| self.records(kind(tlv))))
                .map(|tlv| tlv.map_or_else(|error| format!("BAD TLV: {error}"), |tlv| describe(&tlv)))
                .collect(),
            Err(error) => vec![format!("BAD PACKET: {error}")],
        };
        if self.records(Kind::Mac) {
            let destination = match transmit.destination {
                Destination::Multicast => MULTICAST,
                Destination::Unicast(address) => address,
            };
            let keys = self
                .keys
                .get(&transmit.interface.0)
                .map_or(&[][..], |keys| &keys[..]);
            tlvs.extend(mac::describe(&transmit.payload, source, destination, keys));
        }
        if tlvs.is_empty() {
            return;
        }
        self.line(&format!(
            "send   {} octets on {} to {to}",
            transmit.payload.len(),
            transmit.interface.0
        ));
        for tlv in tlvs {
            self.log.push_str(&format!("                {tlv}\n"));
        }
    }

    /// All whom a packet reaches acknowledge it a millisecond later.
    fn acknowledge(&mut self, transmit: &Transmit, opaque: u16) {
        let at = self.now + Duration::from_millis(1);
        for (key, neighbour) in &self.neighbours {
            let reached = match transmit.destination {
                Destination::Multicast => true,
                Destination::Unicast(address) => address == key.1,
            };
            if reached && key.0 == transmit.interface.0 && !neighbour.spec.deaf {
                self.acks.insert((at, *key, opaque));
            }
        }
    }

    fn log_routes(&mut self) {
        let routes: Vec<String> = self
            .speaker
            .routes()
            .map(|r| {
                let marks = match (r.selected, r.feasible) {
                    (true, _) => "selected",
                    (false, _) if r.standing == Standing::NotInstallable => "not installable",
                    (false, true) => "feasible",
                    (false, false) => "unfeasible",
                };
                format!(
                    "route  {} from {} on {} origin {} seqno {} metric {} ({}) via {} {marks}",
                    describe_route(Some(r.prefix), r.source),
                    r.neighbour,
                    r.interface.0,
                    r.router_id,
                    r.seqno,
                    metric(r.metric),
                    metric(r.reference_metric),
                    r.next_hop
                )
            })
            .collect();
        if routes.is_empty() {
            self.line("route  none");
        }
        routes.iter().for_each(|route| self.line(route));
    }

    fn log_mac_counters(&mut self) {
        let c = self.speaker.counters();
        self.line(&format!(
            "counters failed {} missing {} replayed {} challenges sent {} received {}",
            c.mac_failed, c.mac_missing, c.mac_replayed, c.challenges_sent, c.challenges_received
        ));
    }

    fn log_neighbours(&mut self) {
        let neighbours: Vec<String> = self
            .speaker
            .neighbours()
            .map(|n| {
                format!(
                    "neighbour {} on {} cost {} (rx {}, tx {}) hellos {:016b}{}",
                    n.address,
                    n.interface.0,
                    metric(n.cost),
                    metric(n.rx_cost),
                    metric(n.tx_cost),
                    n.hello_history,
                    n.rtt.map_or(String::new(), |rtt| format!(" rtt {rtt:?}"))
                )
            })
            .collect();
        if neighbours.is_empty() {
            self.line("neighbour none");
        }
        neighbours.iter().for_each(|neighbour| self.line(neighbour));
    }
}

fn payload(spec: &PacketSpec, dst: Ipv6Addr) -> Result<Vec<u8>, String> {
    if let Some(payload) = &spec.payload {
        return octets(payload);
    }
    let mut body = Vec::new();
    for tlv in &spec.tlvs {
        body.extend(encode(tlv, spec.from)?);
    }
    let length = u16::try_from(body.len()).map_err(|error| error.to_string())?;
    let mut payload = [&[42, 2][..], &length.to_be_bytes(), &body].concat();
    let covered = payload.clone();
    payload.extend(octets(&spec.trailer)?);
    for key in &spec.keys {
        payload.extend(mac::tlv(key, spec.from, dst, &covered)?);
    }
    Ok(payload)
}

/// One TLV with the Router-Id and Next Hop TLVs it needs.
fn encode(tlv: &TlvSpec, from: Ipv6Addr) -> Result<Vec<u8>, String> {
    let mut builder = Builder::new(65_535, from);
    match tlv {
        TlvSpec::AckRequest { opaque, interval } => builder.ack_request(*opaque, Centis(*interval)),
        TlvSpec::Ack { opaque } => builder.ack(*opaque),
        TlvSpec::Hello {
            unicast,
            seqno,
            interval,
        } => builder.hello(*unicast, *seqno, Centis(*interval)),
        TlvSpec::Ihu {
            address,
            cost,
            interval,
        } => builder.ihu(*address, *cost, Centis(*interval)),
        TlvSpec::Update {
            prefix,
            router_id: id,
            seqno,
            metric,
            interval,
            next_hop,
        } => builder.update(&wire::Update {
            prefix: prefix.map(|route| route.0.prefix),
            source: prefix.and_then(|route| route.0.source),
            interval: Centis(*interval),
            seqno: *seqno,
            metric: *metric,
            router_id: id.as_deref().map(router_id).transpose()?,
            next_hop: *next_hop,
        }),
        TlvSpec::RouteRequest { prefix } => builder.route_request(prefix.map(|route| route.0)),
        TlvSpec::SeqnoRequest {
            prefix,
            router_id: id,
            seqno,
            hops,
        } => builder.seqno_request(&wire::SeqnoRequest {
            prefix: prefix.0.prefix,
            source: prefix.0.source,
            seqno: *seqno,
            hop_count: *hops,
            router_id: router_id(id)?,
        }),
        TlvSpec::Pc { counter, index } => {
            let (counter, index) = (counter.to_be_bytes(), octets(index)?);
            return raw(17, &[&counter[..], &index].concat());
        }
        TlvSpec::Challenge(nonce) => return raw(18, &octets(nonce)?),
        TlvSpec::Reply(nonce) => return raw(19, &octets(nonce)?),
        TlvSpec::Raw(hex) => return octets(hex),
    };
    Ok(builder.finish().split_off(HEADER))
}

fn raw(kind: u8, body: &[u8]) -> Result<Vec<u8>, String> {
    let length = u8::try_from(body.len()).map_err(|error| error.to_string())?;
    Ok([&[kind, length], body].concat())
}

pub(crate) fn octets(hex: &str) -> Result<Vec<u8>, String> {
    let digits: Vec<u32> = hex
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| c.to_digit(16).ok_or_else(|| format!("not hexadecimal: {c}")))
        .collect::<Result<_, _>>()?;
    if !digits.len().is_multiple_of(2) {
        return Err("an odd number of hexadecimal digits".to_owned());
    }
    // Two digits are at most 255.
    Ok(digits
        .chunks(2)
        .map(|pair| (pair[0] * 16 + pair[1]) as u8)
        .collect())
}

fn router_id(hex: &str) -> Result<RouterId, String> {
    let octets: [u8; 8] = octets(hex)?
        .try_into()
        .map_err(|_| "a router-id has 8 octets".to_owned())?;
    Ok(RouterId(octets))
}

fn kind(tlv: &Tlv) -> Kind {
    match tlv {
        Tlv::AckRequest { .. } => Kind::AckRequest,
        Tlv::Ack { .. } => Kind::Ack,
        Tlv::Hello { .. } => Kind::Hello,
        Tlv::Ihu { .. } => Kind::Ihu,
        Tlv::Update(_) => Kind::Update,
        Tlv::RouteRequest { .. } => Kind::RouteRequest,
        Tlv::SeqnoRequest(_) => Kind::SeqnoRequest,
    }
}

fn metric(metric: u16) -> String {
    if metric == INFINITY {
        "infinite".to_owned()
    } else {
        metric.to_string()
    }
}

fn describe(tlv: &Tlv) -> String {
    match tlv {
        Tlv::AckRequest { opaque, interval } => format!("Ack Request {opaque} within {}", interval.0),
        Tlv::Ack { opaque } => format!("Ack {opaque}"),
        Tlv::Hello {
            unicast,
            seqno,
            interval,
            timestamp,
        } => {
            format!(
                "{} {seqno} interval {}{}",
                if *unicast { "Unicast Hello" } else { "Hello" },
                interval.0,
                timestamp.map_or(String::new(), |at| format!(" sent at {at}"))
            )
        }
        Tlv::Ihu {
            address,
            rx_cost,
            interval,
            timestamps,
        } => {
            let address = address.map_or("whoever".to_owned(), |address| address.to_string());
            let echo = timestamps.map_or(String::new(), |echo| {
                format!(" for {} come at {}", echo.origin, echo.received)
            });
            format!(
                "IHU {address} cost {} interval {}{echo}",
                metric(*rx_cost),
                interval.0
            )
        }
        Tlv::Update(update) => {
            let prefix = describe_route(update.prefix, update.source);
            let id = update.router_id.map_or("none".to_owned(), |id| id.to_string());
            if update.is_retraction() {
                return format!("Retraction {prefix} origin {id}");
            }
            let next_hop = update
                .next_hop
                .map_or("none".to_owned(), |next_hop| next_hop.to_string());
            format!(
                "Update {prefix} origin {id} seqno {} metric {} via {next_hop} interval {}",
                update.seqno, update.metric, update.interval.0
            )
        }
        Tlv::RouteRequest { prefix, source } => format!("Route Request {}", describe_route(*prefix, *source)),
        Tlv::SeqnoRequest(request) => format!(
            "Seqno Request {} origin {} seqno {} hops {}",
            describe_route(Some(request.prefix), request.source),
            request.router_id,
            request.seqno,
            request.hop_count
        ),
    }
}

fn describe_route(prefix: Option<IpNet>, source: Option<IpNet>) -> String {
    prefix.map_or("everything".to_owned(), |prefix| {
        RouteKey { prefix, source }.to_string()
    })
}

fn describe_event(event: &Event) -> String {
    match event {
        Event::RouteChanged {
            prefix,
            source,
            target,
        } => match target {
            Target::Via {
                interface,
                next_hop,
                metric,
                router_id,
                seqno,
            } => {
                let route = describe_route(Some(*prefix), *source);
                format!(
                    "{route} via {next_hop} on {} metric {metric} origin {router_id} seqno {seqno}",
                    interface.0
                )
            }
            Target::Unreachable => format!("{} unreachable", describe_route(Some(*prefix), *source)),
            Target::Gone => format!("{} gone", describe_route(Some(*prefix), *source)),
        },
        Event::NeighbourUp { interface, address } => format!("neighbour {address} on {} up", interface.0),
        Event::NeighbourDown { interface, address } => format!("neighbour {address} on {} down", interface.0),
        Event::SeqnoChanged(seqno) => format!("own seqno {seqno}"),
    }
}
