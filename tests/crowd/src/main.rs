//! One node under a thousand peers: what each costs, traffic spread over few and many, handshake storms.

use anyhow::{Context, Result};
use clap::Parser;
use comfy_table::{Table, presets};
use osier_crowd::{
    cores::Pair,
    stage::Stage,
    swarm::{Arrived, DATA, Report, Swarm},
    traffic::{Flood, Machine},
};
use osier_lab::Lab;
use serde_json::{Value, json};
use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

#[derive(Parser)]
#[command(about = "Loads one real node (TUN, UDP socket, its own process) with many light peers.")]
struct Arguments {
    /// How many peers
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u16).range(10..=3000))]
    peers: u16,
    /// How often each spread of traffic is measured
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    repetitions: u16,
    /// Length of each measurement, in seconds
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Junk initiations a second while peers come and go
    #[arg(long, default_value_t = 5000)]
    junk: u64,
    /// Write everything to a file
    #[arg(long)]
    json: Option<PathBuf>,
}

/// Peers are no longer active, and need no keepalives, after this.
const CALM: Duration = Duration::from_millis(3500);
const WARM_UP: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(60);
/// Throughput is looked at this often while peers come.
const WINDOW: Duration = Duration::from_millis(100);
/// Peers with traffic meanwhile.
const TALKING: usize = 10;

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let cores = cores(&arguments)?;
    osier_lab::enter();
    let lab = Lab::new("crowd")?;
    let mut bench = Bench::new(&lab, &arguments)?;
    let result = bench.all(&arguments);
    let mut findings = result.with_context(|| format!("the node says: {:?}", bench.stage.status()))?;
    findings["one_peer_threads"] = cores;
    if let Some(path) = &arguments.json {
        std::fs::write(path, serde_json::to_string_pretty(&findings)?)?;
    }
    Ok(())
}

/// One peer's packets, sealed and opened by one thread and by all processors.
fn cores(arguments: &Arguments) -> Result<Value> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let mut rows = Vec::new();
    for aes in [true, false] {
        let pair = Pair::new(aes)?;
        let mut rates = [Vec::new(), Vec::new()];
        for _ in 0..arguments.repetitions {
            for (threads, rates) in [1, processors].into_iter().zip(&mut rates) {
                rates.push(pair.rate(threads, Duration::from_secs_f64(arguments.seconds / 2.0)));
            }
        }
        let [one, all] = rates.map(median);
        say(&format!(
            "one peer's packets sealed and opened with {}: {one:.1} Gbit/s by 1 thread, {all:.1} by {processors} ({:.2} times)",
            pair.cipher(),
            all / one
        ));
        rows.push(json!({ "cipher": pair.cipher(), "threads": processors, "one": one, "all": all }));
    }
    Ok(rows.into())
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of.get(of.len() / 2).copied().unwrap_or(f64::NAN)
}

struct Bench {
    // In this order they end.
    machine: Option<Machine>,
    swarm: Swarm,
    stage: Stage,
    arrived: Arc<Arrived>,
    peers: usize,
}

#[derive(Clone, Copy)]
enum Way {
    Out,
    In,
}

struct Sample {
    gbits: f64,
    cpu_per_gb: f64,
}

impl Bench {
    fn new(lab: &Lab, arguments: &Arguments) -> Result<Self> {
        let stage = Stage::new(lab, arguments.peers)?;
        let arrived = Arc::new(Arrived::default());
        Ok(Self {
            machine: None,
            swarm: Swarm::start(&stage, &arrived)?,
            stage,
            arrived,
            peers: arguments.peers.into(),
        })
    }

    fn all(&mut self, arguments: &Arguments) -> Result<Value> {
        self.stage.up()?;
        let empty = self.stage.memory()?;
        let first = self.storm("members that the node does not know", 0)?;
        self.machine = Some(Machine::start(&self.stage, &self.arrived)?);
        std::thread::sleep(Duration::from_secs(8));
        let full = self.stage.memory()?;
        let per_peer = full.saturating_sub(empty) as f64 / self.peers as f64 / 1e3;
        let (cpu, began) = (self.stage.cpu()?, Instant::now());
        std::thread::sleep(Duration::from_secs(5));
        let idle = 100.0 * (self.stage.cpu()? - cpu) / began.elapsed().as_secs_f64();
        say(&format!(
            "{} idle peers: {idle:.1} % of a processor; {:.1} MB, {per_peer:.1} kB for each peer",
            self.peers,
            full as f64 / 1e6
        ));
        let spread = self.spread(arguments)?;
        let storm_under_traffic = self.storm_beside_traffic(arguments.junk)?;
        self.stage.kill();
        self.stage.up()?;
        let restart = self.storm("all at once after a restart of the node", 0)?;
        self.stage.kill();
        self.stage.up()?;
        let with_junk = self.storm("the same beside junk initiations", arguments.junk)?;
        Ok(json!({
            "peers": self.peers,
            "idle_cpu_percent": idle,
            "kilobytes_per_peer": per_peer,
            "node_megabytes": full as f64 / 1e6,
            "first": first,
            "spread": spread,
            "storm_beside_traffic": storm_under_traffic,
            "restart": restart,
            "restart_with_junk": with_junk,
        }))
    }

    /// Everybody begins a handshake now.
    fn storm(&self, what: &str, junk: u64) -> Result<Value> {
        let flood = (junk > 0).then(|| Flood::start(&self.stage, junk)).transpose()?;
        let before = self.swarm.report()?.cookies;
        let (cpu, lost) = (self.stage.cpu()?, self.stage.lost_at_sockets()?);
        self.swarm.dial(0..self.peers)?;
        let report = self.swarm.wait_open(self.peers, PATIENCE)?;
        let spent = self.stage.cpu()? - cpu;
        let lost = self.stage.lost_at_sockets()? - lost;
        let at = |part: usize| {
            report
                .opened
                .get((self.peers * part / 100).saturating_sub(1))
                .copied()
        };
        let (half, last) = (at(50).unwrap_or_default(), at(100).unwrap_or_default());
        let status = self.stage.status()?;
        let counters = handshake_counters(&status);
        say(&format!(
            "{} {what}: half of them up after {:.2} s, all after {:.2} s; {spent:.2} CPU s; {} cookies; junk sent {}; lost at the socket {lost}; {counters}",
            self.peers,
            half.as_secs_f64(),
            last.as_secs_f64(),
            report.cookies - before,
            flood.as_ref().map_or(0, Flood::sent),
        ));
        Ok(json!({
            "half_s": half.as_secs_f64(),
            "all_s": last.as_secs_f64(),
            "cpu_s": spent,
            "lost_at_sockets": lost,
            "cookies": report.cookies - before,
            "counters": counters,
        }))
    }

    fn spread(&self, arguments: &Arguments) -> Result<Value> {
        let counts = [1, 10, 100, 1000, 3000].map(|n: usize| n.min(self.peers));
        let mut counts: Vec<usize> = counts.to_vec();
        counts.dedup();
        let length = Duration::from_secs_f64(arguments.seconds);
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED);
        table.set_header([
            "traffic",
            "peers",
            "Gbit/s",
            "× one peer",
            "CPU s/GB",
            "× one peer",
        ]);
        let mut rows = Vec::new();
        for (way, name) in [(Way::Out, "node to peers"), (Way::In, "peers to node")] {
            let mut samples: Vec<Vec<Sample>> = counts.iter().map(|_| Vec::new()).collect();
            for repetition in 0..arguments.repetitions.into() {
                for turn in 0..counts.len() {
                    let which = (turn + repetition) % counts.len();
                    samples[which].push(self.measure(way, counts[which], length)?);
                }
            }
            let median = |of: &dyn Fn(&Sample) -> f64| -> Vec<f64> {
                let each = samples.iter().map(|s| {
                    let mut values: Vec<f64> = s.iter().map(of).collect();
                    values.sort_by(f64::total_cmp);
                    values[values.len() / 2]
                });
                each.collect()
            };
            let (gbits, cpu) = (median(&|s| s.gbits), median(&|s| s.cpu_per_gb));
            for (n, count) in counts.iter().enumerate() {
                table.add_row([
                    name.to_owned(),
                    count.to_string(),
                    format!("{:.2}", gbits[n]),
                    format!("{:.2}", gbits[n] / gbits[0]),
                    format!("{:.2}", cpu[n]),
                    format!("{:.2}", cpu[n] / cpu[0]),
                ]);
                rows.push(json!({
                    "way": name, "peers": count, "gbits": gbits[n], "cpu_s_per_gb": cpu[n],
                    "gbits_ratio": gbits[n] / gbits[0], "cpu_ratio": cpu[n] / cpu[0],
                }));
            }
        }
        print(&table.to_string());
        Ok(Value::Array(rows))
    }

    fn counter(&self, way: Way) -> &AtomicU64 {
        match way {
            Way::Out => &self.arrived.at_peers,
            Way::In => &self.arrived.at_node,
        }
    }

    fn talk(&self, way: Way, peers: usize) -> Result<()> {
        match (way, &self.machine) {
            (Way::Out, Some(machine)) => machine.send(peers),
            (Way::Out, None) => {}
            (Way::In, _) => self.swarm.send(peers)?,
        }
        Ok(())
    }

    fn measure(&self, way: Way, peers: usize, length: Duration) -> Result<Sample> {
        self.talk(way, peers)?;
        std::thread::sleep(WARM_UP);
        let (packets, cpu, began) = (self.counter(way).load(Relaxed), self.stage.cpu()?, Instant::now());
        std::thread::sleep(length);
        let packets = self.counter(way).load(Relaxed) - packets;
        let (cpu, seconds) = (self.stage.cpu()? - cpu, began.elapsed().as_secs_f64());
        self.talk(way, 0)?;
        std::thread::sleep(CALM);
        let octets = (packets * DATA as u64) as f64;
        anyhow::ensure!(packets > 0, "nothing arrived");
        Ok(Sample {
            gbits: octets * 8.0 / seconds / 1e9,
            cpu_per_gb: cpu / octets * 1e9,
        })
    }

    /// A few peers get traffic all the time; all others begin handshakes at once, beside junk.
    fn storm_beside_traffic(&self, junk: u64) -> Result<Value> {
        self.talk(Way::Out, TALKING)?;
        std::thread::sleep(WARM_UP);
        let mut before = self.windows(20);
        before.sort_unstable();
        let flood = Flood::start(&self.stage, junk)?;
        let began = Instant::now();
        self.swarm.dial(TALKING..self.peers)?;
        let mut during = Vec::new();
        let report: Report = loop {
            during.extend(self.windows(1));
            let report = self.swarm.report()?;
            if report.open == self.peers && during.len() >= 20 {
                break report;
            }
            anyhow::ensure!(began.elapsed() < PATIENCE, "only {} peers are up", report.open);
        };
        self.talk(Way::Out, 0)?;
        let sent = flood.sent();
        drop(flood);
        std::thread::sleep(CALM);
        let last = report.opened.last().copied().unwrap_or_default();
        let usual = before[before.len() / 2] as f64;
        let least = during.iter().min().copied().unwrap_or(0) as f64;
        let mean = during.iter().sum::<u64>() as f64 / during.len() as f64;
        let counters = handshake_counters(&self.stage.status()?);
        say(&format!(
            "{} at once beside traffic and {sent} junk initiations: all up after {:.2} s; traffic meanwhile {:.0} % of before, in the worst {} ms {:.0} %; {counters}",
            self.peers - TALKING,
            last.as_secs_f64(),
            100.0 * mean / usual,
            WINDOW.as_millis(),
            100.0 * least / usual,
        ));
        Ok(json!({
            "all_s": last.as_secs_f64(), "traffic_mean": mean / usual, "traffic_worst": least / usual,
            "junk": sent, "counters": counters,
        }))
    }

    /// Packets that arrived in each of so many windows.
    fn windows(&self, count: usize) -> Vec<u64> {
        let each = (0..count).map(|_| {
            let before = self.arrived.at_peers.load(Relaxed);
            std::thread::sleep(WINDOW);
            self.arrived.at_peers.load(Relaxed) - before
        });
        each.collect()
    }
}

/// Those that speak of handshakes and of what was lost.
fn handshake_counters(status: &Value) -> Value {
    let Some(counters) = status["counters"].as_object() else {
        return Value::Null;
    };
    let wanted = ["handshake", "overflow", "limit", "greeting", "send-errors"];
    let some = counters
        .iter()
        .filter(|(name, count)| count.as_u64() > Some(0) && wanted.iter().any(|w| name.contains(w)));
    Value::Object(some.map(|(name, count)| (name.clone(), count.clone())).collect())
}

#[allow(clippy::print_stderr)] // progress
fn say(text: &str) {
    eprintln!("{text}");
}

#[allow(clippy::print_stdout)] // this program's output
fn print(text: &str) {
    println!("{text}");
}
