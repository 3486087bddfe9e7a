//! Runs one case against one daemon.

use super::case::{Case, Damage, Expect, Flood, Goal, Pattern, Quiet, Route, Send, Stays, Step};
use super::encode::{self, encode_prefix, octets};
use super::kernel::{self, Way};
use super::link::{Envelope, GROUP, PORT, Seen};
use super::matching::matches;
use super::probe::Probe;
use super::sign::{Signature, parse_keys};
use crate::{Daemon, Kind, Router, Settings, in_lab};
use osier_lab::{Error, Lab, Result, wait_until};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// For anything that should happen at once or within an update interval.
const SOON: Duration = Duration::from_secs(15);

/// One daemon with its probe.
struct Run<'a> {
    kind: Kind,
    router: &'a Router,
    ends: &'a [Router],
    probe: &'a Probe,
    daemon: &'a mut Daemon,
    variables: BTreeMap<String, Value>,
    recorded: BTreeMap<String, (Envelope, Vec<u8>)>,
    mark: usize,
    barriers: u16,
}

/// Starts a daemon in a lab of its own and takes the steps; the error tells which one failed and how.
pub fn run(case: &Case, kind: Kind) -> Result<()> {
    in_lab(&format!("{}-{kind}", case.name), |lab| run_in(lab, case, kind))
}

fn run_in(lab: &Lab, case: &Case, kind: Kind) -> Result<()> {
    let router = Router::new(lab, "a", 1)?;
    let ends: Vec<Router> = (0..case.links)
        .map(|link| Router::new(lab, &format!("p{link}"), 250 + link as u8))
        .collect::<Result<_>>()?;
    for end in &ends {
        crate::cable(lab, &router, end)?;
    }
    let ends_ref: Vec<&Router> = ends.iter().collect();
    let keys = parse_keys(&case.keys)?;
    let probe = Probe::new(&router, &ends_ref, &case.neighbours, &keys)?;
    let settings = Settings {
        update: Duration::from_millis(case.update_ms),
        keys: keys.clone(),
        rtt: case.rtt,
        ..Settings::default()
    };
    let mut daemon = started(kind, &router, &ends_ref, &settings, &probe)?;
    probe.begin()?;
    // What is sent before both sides have met each other's challenges is lost.
    wait_until(SOON, "the daemon believes its neighbours", || {
        let seen = probe.seen(0);
        probe.signers().iter().all(|address| {
            let heard = |tlv: &Value| tlv["type"] == "ihu" && tlv["address"] == address.as_str();
            seen.iter().flat_map(|packet| &packet.tlvs).any(heard)
        })
    })?;
    let mut run = Run {
        kind,
        router: &router,
        ends: &ends,
        probe: &probe,
        daemon: &mut daemon,
        variables: BTreeMap::new(),
        recorded: BTreeMap::new(),
        mark: 0,
        barriers: 0,
    };
    run.define()?;
    for (number, step) in case.steps.iter().enumerate() {
        run.step(step)
            .map_err(|e| Error::new(format!("step {} {step}: {e}\n{}", number + 1, probe.story())))?;
    }
    if !run.daemon.is_running() && !case.steps.iter().any(|step| step.get("stop").is_some()) {
        return Err(Error::new("the daemon has ended"));
    }
    Ok(())
}

/// A daemon that speaks on every link. One that does not is started again, because that is not what cases are
/// about: FRR sometimes stays silent on a busy machine.
fn started(
    kind: Kind,
    router: &Router,
    ends: &[&Router],
    settings: &Settings,
    probe: &Probe,
) -> Result<Daemon> {
    let mut tries = 0;
    loop {
        tries += 1;
        let mark = probe.mark();
        let mut daemon = Daemon::start_with(kind, router, ends, settings)?;
        let speaks = wait_until(SOON, "the daemon speaks on every link", || {
            let seen = probe.seen(mark);
            (0..ends.len()).all(|link| seen.iter().any(|packet| packet.link == link))
        });
        match speaks {
            Ok(_) => return Ok(daemon),
            Err(error) if tries == 3 || kind == Kind::Osier => return Err(error),
            Err(_) => daemon.kill(),
        }
    }
}

impl Run<'_> {
    /// What cases can name.
    fn define(&mut self) -> Result<()> {
        for (name, address) in self.probe.neighbours() {
            self.variables.insert(name, json!(address.to_string()));
        }
        let mut define = |name: &str, value: String| self.variables.insert(name.to_owned(), json!(value));
        define("own", self.kind.own_v6(self.router));
        define("own4", self.kind.own_v4(self.router));
        define("group", GROUP.to_string());
        for (link, end) in self.ends.iter().enumerate() {
            define(&format!("daemon{link}"), self.probe.daemon(link)?.to_string());
            define(&format!("probe{link}-v4"), crate::wire_address(end, self.router));
        }
        Ok(())
    }

    fn step(&mut self, step: &Value) -> Result<()> {
        let resolved = self.resolve(step)?;
        let step: Step = serde_json::from_value(resolved).map_err(|e| Error::new(e.to_string()))?;
        match step {
            Step::Send(send) => self.send(&send),
            Step::Route(route) => self.route(&route),
            Step::Gone(goal) => self.until(&goal, "is gone", |way| !matches!(way, Way::Via { .. })),
            Step::Unreachable(goal) => self.until(&goal, "is unreachable", |way| *way == Way::Unreachable),
            Step::Absent(goal) => match self.way(&goal) {
                way @ Way::Via { .. } => Err(Error::new(format!("{way:?}"))),
                _ => Ok(()),
            },
            Step::Stays(stays) => self.stays(&stays),
            Step::Barrier(from) => self.barrier(&from),
            Step::Expect(expect) => self.expect(&expect),
            Step::Quiet(quiet) => self.quiet(&quiet),
            Step::Every(every) => self.every(&every.chosen, &every.is),
            Step::Count(count) => {
                let limit = count.within.map_or(SOON, Duration::from_millis);
                let mut last = 0;
                wait_until(limit, "enough routes", || {
                    last = kernel::count(&self.router.netns, &count.starts);
                    last >= count.at_least
                })
                .map(drop)
                .map_err(|e| Error::new(format!("{e}: {last}")))
            }
            Step::Replay(name) => {
                self.mark = self.probe.mark();
                let (envelope, payload) = self
                    .recorded
                    .get(&name)
                    .ok_or_else(|| Error::new(format!("nothing recorded as {name}")))?;
                self.probe.send(*envelope, payload)
            }
            Step::CountersRise {} => self.counters_rise(),
            Step::HelloSeqnos(count) => self.hello_seqnos(count),
            Step::Start(name) => self.probe.start(&name),
            Step::Silence(name) => self.probe.silence(&name),
            Step::Jump { neighbour, by } => self.probe.jump(&neighbour, by),
            Step::Damage(damage) => self.damage(&damage),
            Step::Flood(flood) => self.flood(&flood),
            Step::Stop {} => {
                self.mark = self.probe.mark();
                self.daemon.terminate()
            }
            Step::Mark {} => {
                self.mark = self.probe.mark();
                Ok(())
            }
        }
    }

    /// Puts values in place of strings `$name` and `$name+1`.
    fn resolve(&self, value: &Value) -> Result<Value> {
        Ok(match value {
            Value::String(text) => match text.strip_prefix('$') {
                None => value.clone(),
                Some(name) => self.variable(name)?,
            },
            Value::Array(items) => items
                .iter()
                .map(|item| self.resolve(item))
                .collect::<Result<_>>()?,
            Value::Object(fields) => Value::Object(
                fields
                    .iter()
                    .map(|(key, field)| {
                        let field = match (key.as_str(), field) {
                            // Names of variables to set, of neighbours.
                            ("save", _) => field.clone(),
                            _ => self.resolve(field)?,
                        };
                        Ok((key.clone(), field))
                    })
                    .collect::<Result<_>>()?,
            ),
            _ => value.clone(),
        })
    }

    fn variable(&self, expression: &str) -> Result<Value> {
        let (name, plus) = match expression.split_once('+') {
            None => (expression, 0),
            Some((name, plus)) => (
                name,
                plus.parse::<u16>()
                    .map_err(|_| Error::new(format!("not a number: {plus}")))?,
            ),
        };
        let value = self
            .variables
            .get(name)
            .ok_or_else(|| Error::new(format!("no variable {name}")))?;
        Ok(match value.as_u64() {
            Some(number) => json!((number as u16).wrapping_add(plus)),
            None => value.clone(),
        })
    }

    fn envelope(&self, from: &str, unicast: bool) -> Result<Envelope> {
        Ok(Envelope {
            link: self.probe.link(from)?,
            from: self.probe.address(from)?,
            unicast,
            port: PORT,
            hop_limit: 1,
        })
    }

    fn send(&mut self, send: &Send) -> Result<()> {
        let mut envelope = self.envelope(&send.from, send.unicast)?;
        envelope.port = send.port.unwrap_or(envelope.port);
        envelope.hop_limit = send.hop_limit.unwrap_or(envelope.hop_limit);
        if let Some(source) = send.source {
            let interface = crate::interface_to(self.router);
            let netns = &self.ends[envelope.link].netns;
            // From the second time on it is there already.
            let _ = netns.address(&interface, &format!("{source}/64"));
            envelope.from = source;
        }
        let payload = match &send.payload {
            Some(payload) => octets(payload)?,
            None => encode::packet(&encode::encode(&send.tlvs)?, &encode::encode(&send.trailer)?)?,
        };
        self.mark = self.probe.mark();
        for _ in 0..send.times {
            let sent = self
                .probe
                .send_signed(&send.from, envelope, &payload, &send.sign)?;
            if let Some(name) = &send.record {
                self.recorded.insert(name.clone(), (envelope, sent));
            }
        }
        Ok(())
    }

    fn way(&self, goal: &Goal) -> Way {
        let (prefix, source, _) = goal.parts();
        kernel::way(&self.router.netns, prefix, source)
    }

    fn until(&self, goal: &Goal, what: &str, good: impl Fn(&Way) -> bool) -> Result<()> {
        let (prefix, _, limit) = goal.parts();
        let mut last = Way::None;
        wait_slowly(limit, &format!("{prefix} {what}"), || {
            last = self.way(goal);
            good(&last)
        })
        .map_err(|e| Error::new(format!("{e}: {last:?}")))
    }

    fn route(&self, route: &Route) -> Result<()> {
        let goal = Goal::Exact {
            prefix: route.prefix.clone(),
            source: route.source.clone(),
            within: route.within,
        };
        let dev = route
            .link
            .and_then(|link| self.ends.get(link))
            .map(crate::interface_to);
        self.until(&goal, "has the route", |way| match way {
            Way::Via { next_hop, dev: over } => {
                route.via.as_ref().is_none_or(|via| via == next_hop)
                    && dev.as_ref().is_none_or(|dev| dev == over)
            }
            _ => false,
        })
    }

    fn stays(&self, stays: &Stays) -> Result<()> {
        let end = Instant::now() + Duration::from_millis(stays.ms);
        while Instant::now() < end {
            match kernel::way(&self.router.netns, &stays.prefix, None) {
                Way::Via { .. } => std::thread::sleep(Duration::from_millis(100)),
                other => return Err(Error::new(format!("{other:?}"))),
            }
        }
        Ok(())
    }

    fn barrier(&mut self, from: &str) -> Result<()> {
        self.barriers += 1;
        let prefix = format!("2001:db8:ba44:{:x}::/64", self.barriers);
        let body = marker(&prefix)?;
        let packet = encode::packet(&body, &[])?;
        self.probe
            .send_signed(from, self.envelope(from, false)?, &packet, &Signature::default())?;
        self.until(&Goal::Prefix(prefix), "(a barrier) is installed", |way| {
            matches!(way, Way::Via { .. })
        })
    }

    fn expect(&mut self, expect: &Expect) -> Result<()> {
        let mark = if expect.ever { 0 } else { self.mark };
        let limit = expect.within.map_or(SOON, Duration::from_millis);
        let mut found = Vec::new();
        wait_until(limit, "it is sent", || {
            found = find(&self.probe.seen(mark), &expect.pattern);
            found.len() >= expect.times
        })
        .map_err(|e| Error::new(format!("{e} ({} of {})", found.len(), expect.times)))?;
        let last = found.pop().unwrap_or_default();
        for (variable, field) in &expect.save {
            self.variables.insert(variable.clone(), last[field].clone());
        }
        Ok(())
    }

    fn quiet(&self, quiet: &Quiet) -> Result<()> {
        let end = Instant::now() + Duration::from_millis(quiet.ms);
        loop {
            let found = find(&self.probe.seen(self.mark), &quiet.pattern);
            if found.len() > quiet.but {
                return Err(Error::new(format!("it was sent {} times", found.len())));
            }
            if Instant::now() >= end {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn every(&self, chosen: &Pattern, is: &Pattern) -> Result<()> {
        let mut looked_at = 0;
        for seen in self.probe.seen(0) {
            let envelope = seen.envelope();
            if !chosen.packet.as_ref().is_none_or(|want| matches(want, &envelope)) {
                continue;
            }
            if let Some(want) = &is.packet
                && chosen.tlv.is_none()
            {
                looked_at += 1;
                if !matches(want, &envelope) {
                    return Err(Error::new(format!("not so: {envelope}")));
                }
            }
            for tlv in &seen.tlvs {
                if !chosen.tlv.as_ref().is_none_or(|want| matches(want, tlv)) {
                    continue;
                }
                looked_at += 1;
                let fits = is.tlv.as_ref().is_none_or(|want| matches(want, tlv))
                    && is.packet.as_ref().is_none_or(|want| matches(want, &envelope));
                if !fits {
                    return Err(Error::new(format!("not so: {tlv} in {envelope}")));
                }
            }
        }
        if looked_at == 0 {
            return Err(Error::new("nothing of the kind was ever sent"));
        }
        Ok(())
    }

    fn hello_seqnos(&self, count: usize) -> Result<()> {
        let seqnos = || -> Vec<u16> {
            let all = self.probe.seen(0);
            all.iter()
                .filter(|seen| seen.link == 0 && seen.to == GROUP)
                .flat_map(|seen| &seen.tlvs)
                .filter(|tlv| tlv["type"] == "hello" && tlv["unicast"] == false)
                .filter_map(|tlv| Some(tlv["seqno"].as_u64()? as u16))
                .collect()
        };
        wait_until(SOON, "enough Hellos", || seqnos().len() >= count)?;
        let seqnos = seqnos();
        if seqnos.windows(2).all(|pair| pair[1] == pair[0].wrapping_add(1)) {
            return Ok(());
        }
        Err(Error::new(format!("{seqnos:?}")))
    }

    fn counters_rise(&self) -> Result<()> {
        let seen = self.probe.seen(0);
        let tlvs = seen
            .iter()
            .filter(|seen| seen.link == 0)
            .flat_map(|seen| &seen.tlvs);
        let counters: Vec<(String, u64)> = tlvs
            .filter(|tlv| tlv["type"] == "pc")
            .filter_map(|tlv| Some((tlv["index"].to_string(), tlv["counter"].as_u64()?)))
            .collect();
        let rise = |pair: &[(String, u64)]| pair[0].0 != pair[1].0 || pair[0].1 < pair[1].1;
        if counters.len() > 2 && counters.windows(2).all(rise) {
            return Ok(());
        }
        Err(Error::new(format!("{counters:?}")))
    }

    fn damage(&mut self, damage: &Damage) -> Result<()> {
        let whole = encode::packet(&encode::encode(&damage.tlvs)?, &[])?;
        let envelope = self.envelope(&damage.from, false)?;
        for end in 0..whole.len() {
            self.probe.send(envelope, &whole[..end])?;
        }
        // Xorshift: the same packets every time.
        let mut state = damage.seed | 1;
        let mut random = |limit: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % limit as u64) as usize
        };
        for number in 0..damage.mutations {
            let mut packet = whole.clone();
            for _ in 0..1 + random(4) {
                // Not in the header: that would be the same as no packet at all.
                let at = 4 + random(packet.len() - 4);
                packet[at] = random(256) as u8;
            }
            self.probe.send(envelope, &packet)?;
            if number % 50 == 49 {
                self.barrier(&damage.witness)?;
            }
        }
        Ok(())
    }

    fn flood(&mut self, flood: &Flood) -> Result<()> {
        let envelope = self.envelope(&flood.from, false)?;
        for chunk in (0..flood.count).collect::<Vec<_>>().chunks(40) {
            let mut body = encode::tlv(6, &[&[0, 0], &octets(&flood.router_id)?])?;
            for number in chunk {
                let (ae, plen, prefix) = encode_prefix(Some(&format!("2001:db8:f:{number:x}::/64")))?;
                let rest = [0x0b, 0xb8, 0, 1, 0, 100];
                body.extend(encode::tlv(8, &[&[ae, 0, plen, 0], &rest, &prefix])?);
            }
            self.probe.send(envelope, &encode::packet(&body, &[])?)?;
        }
        Ok(())
    }
}

/// An Update of a router that no case uses.
fn marker(prefix: &str) -> Result<Vec<u8>> {
    let (ae, plen, octets) = encode_prefix(Some(prefix))?;
    let mut body = encode::tlv(6, &[&[0, 0], &[0x0b, 0, 0, 0, 0, 0, 0, 0x44]])?;
    let numbers = [0x0b, 0xb8, 0, 1, 0, 100];
    body.extend(encode::tlv(8, &[&[ae, 0, plen, 0], &numbers, &octets])?);
    Ok(body)
}

/// The TLVs that match, or the envelopes when the pattern asks for no TLV.
fn find(seen: &[Seen], pattern: &Pattern) -> Vec<Value> {
    let mut found = Vec::new();
    for packet in seen {
        let envelope = packet.envelope();
        if !pattern
            .packet
            .as_ref()
            .is_none_or(|want| matches(want, &envelope))
        {
            continue;
        }
        match &pattern.tlv {
            None => found.push(envelope),
            Some(want) => {
                let all = packet.tlvs.iter().chain(&packet.trailer);
                found.extend(all.filter(|tlv| matches(want, tlv)).cloned());
            }
        }
    }
    found
}

/// Like `wait_until` at a pace that asking a kernel through a program allows.
fn wait_slowly(limit: Duration, what: &str, mut condition: impl FnMut() -> bool) -> Result<()> {
    let mut next = Instant::now();
    wait_until(limit, what, || {
        let now = Instant::now();
        if now < next {
            return false;
        }
        next = now + Duration::from_millis(60);
        condition()
    })
    .map(drop)
}

impl Goal {
    fn parts(&self) -> (&str, Option<&str>, Duration) {
        match self {
            Self::Prefix(prefix) => (prefix, None, SOON),
            Self::Exact {
                prefix,
                source,
                within,
            } => (
                prefix,
                source.as_deref(),
                within.map_or(SOON, Duration::from_millis),
            ),
        }
    }
}
