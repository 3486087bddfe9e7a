//! TCP streams: throughput, what it costs, and what it does to pings.

use super::{Subject, median, milliseconds};
use crate::{
    figures::{
        BLOAT, BLOAT_P99, RELAY, RELAY_CPU, RELAY_ENDS, RELAY_MACHINE, Sample, TCP1, TCP1_CPU, TCP1_MACHINE,
        TCP4, TCP4_CPU, TCP4_MACHINE, percentile,
    },
    traffic::Streams,
    usage,
};
use anyhow::{Context, Result, ensure};
use std::{
    thread::sleep,
    time::{Duration, Instant},
};

/// Slow start and the first growth of queues are over after this.
const WARM_UP: Duration = Duration::from_millis(500);
/// Pings before the stream, to compare with.
const CALM: Duration = Duration::from_millis(500);
const PING: Duration = Duration::from_millis(10);

/// Between neighbours. With one stream, pings run beside it; they are too few to cost anything.
pub fn direct(subject: &Subject<'_>, streams: usize, length: Duration) -> Result<Vec<Sample>> {
    if streams > 1 {
        let cost = carry(subject, streams, length)?;
        return Ok(shown(
            &cost,
            &TCP4,
            &TCP4_CPU,
            &TCP4_MACHINE,
            !subject.at_ends().is_empty(),
        ));
    }
    let prober = subject.prober()?;
    let way = (0, subject.sites.len() - 1);
    prober.watch(vec![way], PING)?;
    sleep(CALM);
    let calm = milliseconds(&prober.report()?.rtts(way, Duration::ZERO));
    let begin = prober.now();
    let cost = carry(subject, 1, length)?;
    let loaded = milliseconds(&prober.report()?.rtts(way, begin + WARM_UP));
    let idle = median(&calm)?;
    let mut samples = shown(
        &cost,
        &TCP1,
        &TCP1_CPU,
        &TCP1_MACHINE,
        !subject.at_ends().is_empty(),
    );
    samples.push((&BLOAT, median(&loaded)? - idle));
    samples.push((&BLOAT_P99, percentile(&loaded, 0.99).context("no ping")? - idle));
    Ok(samples)
}

/// From the first node to the last, through those between.
pub fn relayed(subject: &Subject<'_>, length: Duration) -> Result<Vec<Sample>> {
    let cost = carry(subject, 1, length)?;
    let mut samples = shown(
        &cost,
        &RELAY,
        &RELAY_ENDS,
        &RELAY_MACHINE,
        !subject.at_ends().is_empty(),
    );
    if !between(subject).is_empty() {
        samples.push((&RELAY_CPU, cost.relays / cost.gigabytes));
    }
    Ok(samples)
}

/// What a while of streaming took.
struct Cost {
    seconds: f64,
    gigabytes: f64,
    /// Processor seconds.
    ends: f64,
    relays: f64,
    machine: f64,
}

struct Mark {
    at: Instant,
    received: u64,
    ends: f64,
    relays: f64,
    machine: f64,
}

fn carry(subject: &Subject<'_>, count: usize, length: Duration) -> Result<Cost> {
    let streams = Streams::start(subject.first(), subject.last(), count)?;
    sleep(WARM_UP);
    let mark = || {
        anyhow::Ok(Mark {
            at: Instant::now(),
            received: streams.received(),
            ends: usage::processor(&subject.at_ends())?,
            relays: usage::processor(&between(subject))?,
            machine: usage::machine()?,
        })
    };
    let before = mark()?;
    sleep(length);
    let after = mark()?;
    ensure!(after.received > before.received, "the streams stand still");
    Ok(Cost {
        seconds: (after.at - before.at).as_secs_f64(),
        gigabytes: (after.received - before.received) as f64 / 1e9,
        ends: after.ends - before.ends,
        relays: after.relays - before.relays,
        machine: after.machine - before.machine,
    })
}

fn between(subject: &Subject<'_>) -> Vec<u32> {
    let inner = 1..subject.sites.len() - 1;
    inner.flat_map(|n| subject.network.processes(n)).collect()
}

fn shown(
    cost: &Cost,
    speed: &'static crate::figures::Metric,
    ends: &'static crate::figures::Metric,
    machine: &'static crate::figures::Metric,
    has_processes: bool,
) -> Vec<Sample> {
    let mut samples = vec![
        (speed, cost.gigabytes * 8.0 / cost.seconds),
        (machine, cost.machine / cost.gigabytes),
    ];
    if has_processes {
        samples.push((ends, cost.ends / cost.gigabytes));
    }
    samples
}
