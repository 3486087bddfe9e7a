//! What `make demo` shows and the end-to-end test checks: a mesh comes up, loses links and nodes, and heals.

use crate::{
    internet::Internet,
    mesh::{Member, Registry},
    picture::{self, Edge, EdgeState, NodeState},
    prober::{Outage, Pair, Prober, Report},
};
use anyhow::{Context, Result, bail};
use osier_lab::{Lab, wait_until};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

/// Public nodes; with the one at home, eight.
const NAMES: [&str; 7] = ["ash", "birch", "cedar", "elm", "fir", "hazel", "oak"];
const AT_HOME: &str = "willow";
const NEWCOMER: &str = "rowan";

/// 20 pings a second, as in the figures for the original.
const PING: Duration = Duration::from_millis(50);
/// Quiet before idleness is measured: long enough for Hellos to slow down again.
const SETTLE: Duration = Duration::from_secs(20);

/// What was found, and what was promised.
#[derive(Clone, Debug)]
pub struct Finding {
    pub what: String,
    pub figure: String,
    /// Empty when nothing was promised.
    pub promise: String,
    pub holds: bool,
}

/// Where the story tells how it is going.
pub trait Teller {
    fn say(&self, text: &str);
}

pub struct Outcome {
    pub findings: Vec<Finding>,
    /// Title and SVG document, in the order they were drawn.
    pub pictures: Vec<(String, String)>,
}

/// Runs the whole story: about two minutes.
pub fn run(lab: &Lab, idle: Duration, teller: &dyn Teller) -> Result<Outcome> {
    let internet = Internet::new(lab)?;
    teller.say("creating a network and its registry");
    let registry = Registry::create(&internet)?;
    let invite = registry.invite(NAMES.len() + 2)?;

    teller.say(&format!(
        "{AT_HOME} joins from a home behind a NAT and asks the router for a port by UPnP"
    ));
    let mut home = Member::join(lab, internet.home(AT_HOME)?, &invite, &[])?;
    home.up()?;
    home.address()?;
    wait_for_mapping(&home)?;

    let mut members = Vec::new();
    for name in NAMES {
        members.push(Member::join(lab, internet.host(name)?, &invite, &[])?);
    }
    teller.say("starting the seven others at once");
    members.iter_mut().try_for_each(Member::up)?;
    let started = Instant::now();
    members.push(home);

    let mut story = Story {
        internet,
        teller,
        members,
        started,
        findings: Vec::new(),
        pictures: Vec::new(),
    };
    let prober = story.come_up()?;
    story.home_is_reached()?;
    story.answers_quickly()?;
    story.idle(&prober, idle)?;
    story.draw("A mesh of eight", &[], None)?;
    let (cut, path) = story.cut_direct_link(&prober)?;
    story.relay_dies(&prober, &path)?;
    story.relay_returns(&prober, &path)?;
    drop(prober);
    let newcomer = Member::join(lab, story.internet.host(NEWCOMER)?, &invite, &[])?;
    let prober = story.newcomer(newcomer)?;
    story.planned_stop(&prober, &path)?;
    drop(cut);
    drop(registry);
    Ok(Outcome {
        findings: story.findings,
        pictures: story.pictures,
    })
}

/// The two ends whose direct link is cut, and who relays between them.
struct Path {
    ends: (usize, usize),
    relay: usize,
}

struct Story<'a> {
    internet: Internet<'a>,
    teller: &'a dyn Teller,
    members: Vec<Member>,
    started: Instant,
    findings: Vec<Finding>,
    pictures: Vec<(String, String)>,
}

impl Story<'_> {
    fn come_up(&mut self) -> Result<Prober> {
        let ends = self.members.iter().map(Member::end).collect::<Result<Vec<_>>>()?;
        let prober = Prober::start(ends)?;
        let offset = prober.started().saturating_duration_since(self.started);
        let pairs = self.pairs(&[]);
        prober.watch(pairs.clone(), PING)?;
        let all = all_answer(&prober, &pairs, Duration::ZERO, Duration::from_secs(60))?;
        self.find(
            "all pairs reachable, from the last start",
            offset + all,
            Duration::from_secs(15),
        );
        let tunnels: Result<Vec<usize>> = self.members.iter().map(|m| Ok(m.neighbours()?.len())).collect();
        self.note("tunnels per node", &spread(&tunnels?));
        Ok(prober)
    }

    /// Somebody dialled the home through the port that its router opened.
    fn home_is_reached(&mut self) -> Result<()> {
        let Some((home, others)) = self.members.split_last() else {
            bail!("no members")
        };
        let public = home.host.public.to_string();
        let mut by = BTreeSet::new();
        wait_until(
            Duration::from_secs(15),
            "somebody reaches the home by its mapping",
            || {
                by = others
                    .iter()
                    .filter(|m| dialled(m, AT_HOME, &public))
                    .map(|m| m.name.clone())
                    .collect();
                !by.is_empty()
            },
        )
        .ok();
        let figure = format!("{} of {} dialled it", by.len(), others.len());
        let holds = !by.is_empty();
        self.push(
            "node behind NAT reached through its UPnP mapping",
            &figure,
            "1 or more",
            holds,
        );
        Ok(())
    }

    fn answers_quickly(&mut self) -> Result<()> {
        for command in ["status", "peers"] {
            let mut times = Vec::new();
            for member in &self.members {
                let start = Instant::now();
                member.ask(&[command])?;
                times.push(start.elapsed());
            }
            let slowest = times.into_iter().max().unwrap_or_default();
            self.find(
                &format!("osier {command} answers (slowest node)"),
                slowest,
                Duration::from_millis(100),
            );
        }
        Ok(())
    }

    fn idle(&mut self, prober: &Prober, length: Duration) -> Result<()> {
        self.teller.say("nobody talks: what does idling cost?");
        prober.watch(Vec::new(), PING)?;
        std::thread::sleep(SETTLE); // a span of silence is what is measured here, not a condition waited for
        let before = self.usage()?;
        std::thread::sleep(length);
        let after = self.usage()?;
        let rates = |of: fn(&Usage) -> u64| -> Vec<f64> {
            after
                .iter()
                .zip(&before)
                .map(|(a, b)| (of(a) - of(b)) as f64 / length.as_secs_f64())
                .collect()
        };
        let (received, sent, cpu) = (rates(|u| u.received), rates(|u| u.sent), rates(|u| u.cpu_micros));
        for (what, rates) in [("received", received), ("sent", sent)] {
            let most = rates.iter().copied().fold(0.0, f64::max);
            let figure = format!("{most:.0} B/s at most, all headers counted");
            self.push(
                &format!("idle traffic {what} per node"),
                &figure,
                "1000 B/s",
                most <= 1000.0,
            );
        }
        let most = cpu.iter().copied().fold(0.0, f64::max) / 1e6 * 100.0;
        self.note(
            "idle processor time per node",
            &format!("{most:.2} % of a core at most"),
        );
        let rss = after.iter().map(|u| u.rss).max().unwrap_or_default() as f64 / 1e6;
        self.push(
            "resident memory per node",
            &format!("{rss:.1} MB at most"),
            "30 MB",
            rss <= 30.0,
        );
        Ok(())
    }

    /// Cuts the direct link of two neighbours silently; returns what ends the cut, and the way round it.
    fn cut_direct_link(&mut self, prober: &Prober) -> Result<(osier_lab::Silence, Path)> {
        let (a, b) = self.direct_pair()?;
        let names = (self.members[a].name.clone(), self.members[b].name.clone());
        self.teller.say(&format!(
            "cutting the direct link {} – {} while pings run",
            names.0, names.1
        ));
        let pairs = vec![(a, b), (b, a)];
        prober.watch(pairs.clone(), PING)?;
        wait_until(Duration::from_secs(10), "the pings run", || {
            steady(prober, &pairs, Duration::from_secs(2))
        })?;
        let from = prober.now();
        let cut = self.internet.cut(&self.members[a].host, &self.members[b].host)?;
        let outage = self.heal(prober, &pairs, from)?;
        self.find_outage("direct link cut silently: outage", outage, Duration::from_secs(5));
        let relay = self.members[a]
            .relay_to(&names.1)?
            .context("the path did not change")?;
        let relay = self.index(&relay)?;
        let hops = self.members[a].trace(&names.1)?;
        self.note(
            "way round it, by osier trace",
            &format!("{} → {}", names.0, hops.join(" → ")),
        );
        Ok((cut, Path { ends: (a, b), relay }))
    }

    fn relay_dies(&mut self, prober: &Prober, path: &Path) -> Result<()> {
        let relay = self.members[path.relay].name.clone();
        let pairs = self.pairs(&[path.relay]);
        self.teller.say(&format!(
            "killing the relay {relay} silently while every pair pings"
        ));
        prober.watch(pairs.clone(), PING)?;
        wait_until(Duration::from_secs(10), "the pings run", || {
            steady(prober, &pairs, Duration::from_secs(2))
        })?;
        let from = prober.now();
        self.internet.swallow(&self.members[path.relay].host)?;
        self.members[path.relay].kill();
        let outage = self.heal(prober, &pairs, from)?;
        self.find_outage(
            "relay killed silently: worst outage of all pairs",
            outage,
            Duration::from_secs(5),
        );
        self.draw("After a cut link and a dead relay", &[path.relay], Some(path))
    }

    fn relay_returns(&mut self, prober: &Prober, path: &Path) -> Result<()> {
        let relay = self.members[path.relay].name.clone();
        self.teller.say(&format!("{relay} comes back"));
        self.internet.release()?;
        let from = prober.now();
        self.members[path.relay].up()?;
        let pairs = self.pairs(&[]);
        prober.watch(pairs.clone(), PING)?;
        let all = all_answer(prober, &pairs, from, Duration::from_secs(60))?;
        self.find(
            "restarted node reaches all others",
            all - from,
            Duration::from_secs(5),
        );
        Ok(())
    }

    fn newcomer(&mut self, mut newcomer: Member) -> Result<Prober> {
        self.teller.say(&format!("{NEWCOMER} joins"));
        newcomer.up()?;
        let started = Instant::now();
        self.members.push(newcomer);
        let ends = self.members.iter().map(Member::end).collect::<Result<Vec<_>>>()?;
        let last = ends.len() - 1;
        let prober = Prober::start(ends)?;
        let offset = prober.started().saturating_duration_since(started);
        let pairs: Vec<Pair> = (0..last).flat_map(|i| [(last, i), (i, last)]).collect();
        prober.watch(pairs.clone(), PING)?;
        let all = all_answer(&prober, &pairs, Duration::ZERO, Duration::from_secs(60))?;
        self.find(
            "newcomer reaches all others, both ways",
            offset + all,
            Duration::from_secs(5),
        );
        Ok(prober)
    }

    fn planned_stop(&mut self, prober: &Prober, path: &Path) -> Result<()> {
        let (a, b) = path.ends;
        let to = self.members[b].name.clone();
        let from = self.members[a].name.clone();
        let relay = self.members[a]
            .relay_to(&to)?
            .context("no relay is in use: the link should still be cut")?;
        let relay = self.index(&relay)?;
        let pairs = self.pairs(&[relay]);
        let name = self.members[relay].name.clone();
        self.teller.say(&format!(
            "osier down on {name}, which relays {from} – {to}, while every pair pings"
        ));
        prober.watch(pairs.clone(), PING)?;
        wait_until(Duration::from_secs(10), "the pings run", || {
            steady(prober, &pairs, Duration::from_secs(2))
        })?;
        let since = prober.now();
        self.members[relay].down()?;
        let took = prober.now() - since;
        wait_until(Duration::from_secs(10), "pings after the stop", || {
            prober.now() > since + took + Duration::from_secs(3)
        })?;
        let report = prober.report()?;
        // The newest pings may still be on their way.
        let until = prober.now() - Duration::from_millis(500);
        let outages: Vec<Outage> = pairs.iter().map(|p| report.outage(*p, since, until)).collect();
        let (lost, sent) = outages.iter().fold((0, 0), |(l, s), o| (l + o.lost, s + o.sent));
        let figure = format!("{lost} of {sent} lost ({:.1} s to stop)", took.as_secs_f64());
        self.push(
            "planned stop of a relay in use: pings lost",
            &figure,
            "0",
            lost == 0,
        );
        Ok(())
    }

    /// Waits until every pair answers again; the outages since `from`.
    fn heal(&self, prober: &Prober, pairs: &[Pair], from: Duration) -> Result<Vec<Outage>> {
        let calm = Duration::from_secs(3);
        // Nothing may have been lost yet at the very start: give the failure time to show.
        let healed = wait_until(Duration::from_secs(40), "every pair answers again", || {
            prober.now() > from + Duration::from_secs(6) && steady(prober, pairs, calm)
        });
        let report = prober.report()?;
        if healed.is_err() {
            let out = pairs.iter().filter(|p| report.answering_since(**p).is_none());
            let names: Vec<String> = out
                .map(|(a, b)| format!("{} → {}", self.members[*a].name, self.members[*b].name))
                .collect();
            bail!("still out after 40 s: {}", names.join(", "));
        }
        let until = prober.now() - Duration::from_millis(500);
        Ok(pairs.iter().map(|p| report.outage(*p, from, until)).collect())
    }

    fn usage(&self) -> Result<Vec<Usage>> {
        let of = |m: &Member| {
            let (received, sent) = m.host.octets()?;
            Ok(Usage {
                received,
                sent,
                cpu_micros: m.cpu()?.as_micros() as u64,
                rss: m.rss()?,
            })
        };
        self.members.iter().map(of).collect()
    }

    /// Two public nodes whose traffic goes straight.
    fn direct_pair(&self) -> Result<(usize, usize)> {
        for (a, b) in self.pairs(&[]) {
            let public = !self.members[a].host.is_home() && !self.members[b].host.is_home();
            if public && self.members[a].relay_to(&self.members[b].name)?.is_none() {
                return Ok((a, b));
            }
        }
        bail!("no two public nodes are direct neighbours")
    }

    fn pairs(&self, without: &[usize]) -> Vec<Pair> {
        let there: Vec<usize> = (0..self.members.len()).filter(|i| !without.contains(i)).collect();
        there
            .iter()
            .flat_map(|a| there.iter().filter(move |b| a != *b).map(move |b| (*a, *b)))
            .collect()
    }

    fn index(&self, name: &str) -> Result<usize> {
        self.members
            .iter()
            .position(|m| m.name == name)
            .with_context(|| format!("nobody is called {name}"))
    }

    fn draw(&mut self, title: &str, dead: &[usize], path: Option<&Path>) -> Result<()> {
        let mut tunnels: BTreeMap<(usize, usize), String> = BTreeMap::new();
        for (i, member) in self.members.iter().enumerate().filter(|(i, _)| !dead.contains(i)) {
            for peer in member.peers()?.iter().filter(|p| p["neighbour"] == true) {
                let j = self.index(peer["name"].as_str().unwrap_or_default())?;
                let label = peer["rtt_ms"]
                    .as_f64()
                    .map(|ms| format!("{ms:.1} ms"))
                    .unwrap_or_default();
                if !dead.contains(&j) && (peer["cost"].as_u64().is_some_and(|c| c < 65535)) {
                    tunnels.entry((i.min(j), i.max(j))).or_insert(label);
                }
            }
        }
        let mut edges: Vec<Edge> = tunnels
            .into_iter()
            .map(|(ends, label)| Edge {
                ends,
                label,
                state: EdgeState::Tunnel,
            })
            .collect();
        if let Some(path) = path {
            let (a, b) = path.ends;
            edges.retain(|e| e.ends != (a.min(b), a.max(b)));
            let names = self.members[a].trace(&self.members[b].name)?;
            let mut at = a;
            for next in names.iter().filter_map(|n| self.index(n).ok()) {
                let ends = (at.min(next), at.max(next));
                edges
                    .iter_mut()
                    .filter(|e| e.ends == ends)
                    .for_each(|e| e.state = EdgeState::Path);
                at = next;
            }
            edges.push(Edge {
                ends: (a, b),
                label: "cut".into(),
                state: EdgeState::Cut,
            });
        }
        let state = |i: usize, m: &Member| match () {
            () if dead.contains(&i) => NodeState::Dead,
            () if m.host.is_home() => NodeState::BehindNat,
            () => NodeState::Up,
        };
        let note = |s: NodeState| match s {
            NodeState::Up => "",
            NodeState::BehindNat => "behind NAT",
            NodeState::Dead => "dead",
        };
        let nodes: Vec<picture::Node> = self
            .members
            .iter()
            .enumerate()
            .map(|(i, m)| (state(i, m), m))
            .map(|(state, m)| picture::Node {
                name: m.name.clone(),
                note: note(state).into(),
                state,
            })
            .collect();
        self.pictures
            .push((title.to_owned(), picture::svg(title, &nodes, &edges)));
        Ok(())
    }

    fn find(&mut self, what: &str, took: Duration, promise: Duration) {
        let show = |d: Duration| {
            if d < Duration::from_secs(1) {
                format!("{} ms", d.as_millis())
            } else {
                format!("{:.1} s", d.as_secs_f64())
            }
        };
        self.push(what, &show(took), &show(promise), took <= promise);
    }

    fn find_outage(&mut self, what: &str, outages: Vec<Outage>, promise: Duration) {
        let worst = outages
            .iter()
            .map(|o| o.duration.unwrap_or(Duration::MAX))
            .max()
            .unwrap_or_default();
        let hit = outages.iter().filter(|o| o.lost > 0).count();
        let figure = format!(
            "{:.2} s ({hit} of {} pairs affected)",
            worst.as_secs_f64(),
            outages.len()
        );
        self.push(
            what,
            &figure,
            &format!("{} s", promise.as_secs()),
            worst <= promise,
        );
    }

    fn note(&mut self, what: &str, figure: &str) {
        self.push(what, figure, "", true);
    }

    fn push(&mut self, what: &str, figure: &str, promise: &str, holds: bool) {
        self.teller.say(&format!("  {what}: {figure}"));
        let [what, figure, promise] = [what, figure, promise].map(str::to_owned);
        self.findings.push(Finding {
            what,
            figure,
            promise,
            holds,
        });
    }
}

struct Usage {
    received: u64,
    sent: u64,
    cpu_micros: u64,
    rss: u64,
}

fn wait_for_mapping(home: &Member) -> Result<()> {
    let mapped = || home.ask(&["status"]).is_ok_and(|s| s["mapped"].is_string());
    wait_until(
        Duration::from_secs(20),
        "the router maps a port for the home",
        mapped,
    )
    .with_context(|| home.log())?;
    Ok(())
}

/// Whether `member` has a tunnel that it dialled itself to the address that `home` is seen by.
fn dialled(member: &Member, home: &str, public: &str) -> bool {
    let peers = member.peers().unwrap_or_default();
    peers.iter().any(|p| {
        let there = p["endpoint"]
            .as_str()
            .is_some_and(|e| e.starts_with(&format!("{public}:")));
        p["name"] == home && p["neighbour"] == true && p["outgoing"] == true && there
    })
}

/// Waits until each pair has had an answer to a ping sent since `from`; when the last of them had its first.
fn all_answer(prober: &Prober, pairs: &[Pair], from: Duration, limit: Duration) -> Result<Duration> {
    let mut report = Report::default();
    let done = wait_until(limit, "all pairs answer", || {
        report = prober.report().unwrap_or_default();
        pairs.iter().all(|p| report.first_answer(*p, from).is_some())
    });
    let silent = pairs
        .iter()
        .filter(|p| report.first_answer(**p, from).is_none())
        .count();
    done.with_context(|| format!("{silent} of {} pairs never answered", pairs.len()))?;
    Ok(pairs
        .iter()
        .filter_map(|p| report.first_answer(*p, from))
        .max()
        .unwrap_or_default())
}

/// Whether every pair has answered everything for `length`.
fn steady(prober: &Prober, pairs: &[Pair], length: Duration) -> bool {
    let Ok(report) = prober.report() else { return false };
    let now = prober.now();
    pairs.iter().all(|p| {
        report
            .answering_since(*p)
            .is_some_and(|since| now >= since + length)
    })
}

fn spread(numbers: &[usize]) -> String {
    let (least, most) = (numbers.iter().min(), numbers.iter().max());
    format!("{} to {}", least.unwrap_or(&0), most.unwrap_or(&0))
}
