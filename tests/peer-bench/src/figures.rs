//! What is measured, and the figures that came out.

use crate::topology::Wire;
use serde::Serialize;
use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Measure {
    /// ChaCha20-Poly1305 alone on one core
    Cipher,
    /// Processor time and memory of nodes with nothing to do
    Idle,
    /// Round trip of a ping with nothing else going on
    Rtt,
    /// One TCP stream between neighbours, and pings meanwhile
    Tcp1,
    /// Four TCP streams between neighbours
    Tcp4,
    /// Highest rates of UDP datagrams without loss
    Udp,
    /// One TCP stream through a relay
    Relay,
    /// Many nodes, from cold start until random pairs reach each other
    Cold,
    /// The relay in use dies without a word
    RelayDeath,
    /// The direct path is cut without a word
    PathCut,
}

impl Measure {
    pub fn title(self) -> &'static str {
        match self {
            Self::Cipher => "ChaCha20-Poly1305 alone, one core",
            Self::Idle => "nothing to do, per node",
            Self::Rtt => "ping, nothing else going on",
            Self::Tcp1 => "one TCP stream, direct; pings meanwhile",
            Self::Tcp4 => "four TCP streams, direct",
            Self::Udp => "UDP datagrams a second, at most 0.5 % lost",
            Self::Relay => "one TCP stream through one relay",
            Self::Cold => "cold start of many nodes until random pairs answer",
            Self::RelayDeath => "silent death of the relay in use",
            Self::PathCut => "silent cut of the direct path",
        }
    }
}

/// Which way is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    More,
    Less,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Metric {
    pub key: &'static str,
    pub measure: Measure,
    pub title: &'static str,
    pub better: Better,
    /// Digits after the point.
    pub digits: usize,
}

macro_rules! metrics {
    ($($name:ident = $key:literal, $measure:ident, $title:literal, $better:ident, $digits:literal;)*) => {
        $(pub static $name: Metric = Metric {
            key: $key,
            measure: Measure::$measure,
            title: $title,
            better: Better::$better,
            digits: $digits,
        };)*
        /// All of them, in the order of the tables.
        pub static METRICS: &[&Metric] = &[$(&$name),*];
    };
}

metrics! {
    CIPHER_1280 = "cipher_1280_gb_s", Cipher, "GB/s, 1280 octets", More, 2;
    CIPHER_1420 = "cipher_1420_gb_s", Cipher, "GB/s, 1420 octets", More, 2;
    IDLE_CPU = "idle_cpu_percent", Idle, "% of a core", Less, 3;
    IDLE_PSS = "idle_pss_mb", Idle, "PSS, MB", Less, 1;
    RTT = "rtt_us", Rtt, "median, µs", Less, 0;
    RTT_ADDED = "rtt_added_us", Rtt, "more than the wire, µs", Less, 0;
    TCP1 = "tcp1_gbit_s", Tcp1, "Gbit/s", More, 2;
    TCP1_CPU = "tcp1_cpu_s_per_gb", Tcp1, "CPU s/GB, both ends", Less, 2;
    TCP1_MACHINE = "tcp1_machine_s_per_gb", Tcp1, "whole machine s/GB", Less, 2;
    BLOAT = "tcp1_ping_median_added_ms", Tcp1, "ping median, ms more than idle", Less, 2;
    BLOAT_P99 = "tcp1_ping_p99_added_ms", Tcp1, "ping p99, ms more than idle", Less, 2;
    TCP4 = "tcp4_gbit_s", Tcp4, "Gbit/s", More, 2;
    TCP4_CPU = "tcp4_cpu_s_per_gb", Tcp4, "CPU s/GB, both ends", Less, 2;
    TCP4_MACHINE = "tcp4_machine_s_per_gb", Tcp4, "whole machine s/GB", Less, 2;
    UDP_64 = "udp64_kpps", Udp, "1000/s, 64 octets", More, 1;
    UDP_1200 = "udp1200_kpps", Udp, "1000/s, 1200 octets", More, 1;
    RELAY = "relay_gbit_s", Relay, "Gbit/s", More, 2;
    RELAY_CPU = "relay_cpu_s_per_gb", Relay, "CPU s/GB, relay", Less, 2;
    RELAY_ENDS = "relay_ends_cpu_s_per_gb", Relay, "CPU s/GB, both ends", Less, 2;
    RELAY_MACHINE = "relay_machine_s_per_gb", Relay, "whole machine s/GB", Less, 2;
    COLD = "cold_start_s", Cold, "s until all pairs answered", Less, 2;
    COLD_CPU = "cold_start_cpu_s", Cold, "CPU s, all nodes", Less, 2;
    COLD_PSS = "cold_start_pss_mb", Cold, "PSS per node, MB", Less, 1;
    RELAY_DEATH = "relay_death_s", RelayDeath, "longest gap, s", Less, 2;
    PATH_CUT = "path_cut_s", PathCut, "longest gap, s", Less, 2;
}

/// One figure of one system.
pub type Sample = (&'static Metric, f64);

/// Why a figure is missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    pub system: &'static str,
    /// `None`: for all of them.
    pub measure: Option<Measure>,
    pub reason: String,
}

/// Everything that one run found out.
#[derive(Debug, Default)]
pub struct Figures {
    samples: BTreeMap<(&'static str, Wire, &'static str), Vec<f64>>,
    problems: Vec<Problem>,
}

impl Figures {
    pub fn add(&mut self, system: &'static str, wire: Wire, samples: Vec<Sample>) {
        for (metric, value) in samples {
            self.samples
                .entry((metric.key, wire, system))
                .or_default()
                .push(value);
        }
    }

    /// Each is kept once.
    pub fn fail(&mut self, system: &'static str, measure: Option<Measure>, error: &anyhow::Error) {
        let problem = Problem {
            system,
            measure,
            reason: format!("{error:#}"),
        };
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    pub fn of(&self, metric: &Metric, wire: Wire, system: &'static str) -> Option<Spread> {
        Spread::of(self.values(metric, wire, system))
    }

    pub fn values(&self, metric: &Metric, wire: Wire, system: &'static str) -> &[f64] {
        let values = self.samples.get(&(metric.key, wire, system));
        values.map(Vec::as_slice).unwrap_or_default()
    }

    /// Why this system has no figures of this measure.
    pub fn problem(&self, measure: Measure, system: &str) -> Option<&Problem> {
        let concerns = |p: &&Problem| p.system == system && p.measure.is_none_or(|m| m == measure);
        self.problems.iter().find(concerns)
    }

    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Wires that anything of the measure was measured on.
    pub fn wires(&self, measure: Measure) -> Vec<Wire> {
        let of_it = |key: &str| METRICS.iter().any(|m| m.key == key && m.measure == measure);
        let keys = self.samples.keys().filter(|(key, ..)| of_it(key));
        let mut wires: Vec<Wire> = keys.map(|(_, wire, _)| *wire).collect();
        wires.sort_unstable();
        wires.dedup();
        wires
    }
}

/// Repetitions of one figure.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    pub median: f64,
    pub least: f64,
    pub most: f64,
}

impl Spread {
    pub fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (least, most) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median = match sorted.len() % 2 {
            0 => (sorted[middle - 1] + sorted[middle]) / 2.0,
            _ => sorted[middle],
        };
        Some(Self { median, least, most })
    }
}

/// The value that at least `part` (0 to 1) of the sorted values do not exceed.
pub fn percentile(sorted: &[f64], part: f64) -> Option<f64> {
    let rank = (part * sorted.len() as f64).ceil().max(1.0) as usize;
    sorted.get(rank - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_of_an_even_number_lies_between() {
        let spread = Spread::of(&[4.0, 1.0, 3.0, 2.0]);
        let expected = Spread {
            median: 2.5,
            least: 1.0,
            most: 4.0,
        };
        assert_eq!(spread, Some(expected));
        assert_eq!(Spread::of(&[5.0]).map(|s| s.median), Some(5.0));
        assert_eq!(Spread::of(&[]), None);
    }

    #[test]
    fn percentiles_are_measured_values() {
        let sorted: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(percentile(&sorted, 0.99), Some(99.0));
        assert_eq!(percentile(&sorted, 0.0), Some(1.0));
        assert_eq!(percentile(&sorted, 1.0), Some(100.0));
        assert_eq!(percentile(&[], 0.5), None);
    }

    #[test]
    fn a_peer_that_is_missing_altogether_is_missing_everywhere() {
        let mut figures = Figures::default();
        figures.fail("x", None, &anyhow::anyhow!("no compiler"));
        figures.fail("y", Some(Measure::Udp), &anyhow::anyhow!("no route"));
        figures.fail("y", Some(Measure::Udp), &anyhow::anyhow!("no route"));
        assert!(figures.problem(Measure::Tcp1, "x").is_some());
        assert!(figures.problem(Measure::Tcp1, "y").is_none());
        assert_eq!(figures.problems().len(), 2);
    }

    #[test]
    fn keys_are_unique() {
        let mut keys: Vec<&str> = METRICS.iter().map(|m| m.key).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), METRICS.len());
    }
}
