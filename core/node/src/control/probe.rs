//! Echoes through the mesh for the control API: `probe` repeats, `trace` raises the hop limit.

use super::{
    server::{Context, Lines},
    types::{Outcome, ProbeLine, ProbeRequest, TraceLine, TraceRequest},
};
use crate::control_loop::Target;
use std::time::Duration;
use tokio::{sync::mpsc, time::Instant};

/// Octets of echo data that fit into the smallest IPv6 packet.
const MAX_PAYLOAD: u16 = 1232;

pub(super) fn check_probe(request: &ProbeRequest) -> Result<(), &'static str> {
    if !(10..=60_000).contains(&request.interval_ms) {
        return Err("interval_ms: between 10 and 60000");
    }
    if !(10..=60_000).contains(&request.timeout_ms) {
        return Err("timeout_ms: between 10 and 60000");
    }
    if request.hop_limit == 0 {
        return Err("hop_limit: between 1 and 255");
    }
    if request.payload > MAX_PAYLOAD {
        return Err("payload: at most 1232");
    }
    Ok(())
}

pub(super) fn check_trace(request: &TraceRequest) -> Result<(), &'static str> {
    if !(1..=64).contains(&request.max_hops) {
        return Err("max_hops: between 1 and 64");
    }
    if !(1..=10).contains(&request.tries) {
        return Err("tries: between 1 and 10");
    }
    if !(10..=60_000).contains(&request.timeout_ms) {
        return Err("timeout_ms: between 10 and 60000");
    }
    Ok(())
}

/// What became of the echoes so far.
#[derive(Default)]
struct Tally {
    sent: u32,
    received: u32,
    sum_ms: f64,
    min_ms: Option<f64>,
    max_ms: Option<f64>,
}

impl Tally {
    fn add(&mut self, rtt_ms: f64) {
        self.received += 1;
        self.sum_ms += rtt_ms;
        self.min_ms = Some(self.min_ms.map_or(rtt_ms, |m| m.min(rtt_ms)));
        self.max_ms = Some(self.max_ms.map_or(rtt_ms, |m| m.max(rtt_ms)));
    }

    fn summary(&self) -> ProbeLine {
        ProbeLine::Summary {
            sent: self.sent,
            received: self.received,
            min_ms: self.min_ms,
            mean_ms: (self.received > 0).then(|| self.sum_ms / f64::from(self.received)),
            max_ms: self.max_ms,
        }
    }
}

/// Sends echoes at the interval whether or not the last one has been answered, as `ping` does.
pub(super) async fn probe(
    context: Context,
    request: ProbeRequest,
    target: Target,
    lines: Lines,
) -> Option<()> {
    lines
        .put(&ProbeLine::Started {
            address: target.address,
            name: target.name,
        })
        .await?;
    let interval = Duration::from_millis(request.interval_ms.into());
    let timeout = Duration::from_millis(request.timeout_ms.into());
    let (done, mut results) = mpsc::channel::<ProbeLine>(16);
    let mut tally = Tally::default();
    let mut next = Instant::now();
    let mut outstanding = 0_u32;
    loop {
        let more = request.count == 0 || tally.sent < request.count;
        if !more && outstanding == 0 {
            break;
        }
        tokio::select! {
            () = tokio::time::sleep_until(next), if more => {
                next += interval;
                let sequence = tally.sent;
                tally.sent += 1;
                outstanding += 1;
                let (context, done) = (context.clone(), done.clone());
                let (hop_limit, payload) = (request.hop_limit, usize::from(request.payload));
                tokio::spawn(async move {
                    let line = match context.echo(target.address, hop_limit, payload, timeout).await {
                        Some(answer) => ProbeLine::Reply {
                            sequence,
                            from: answer.from,
                            from_name: answer.from_name,
                            outcome: answer.outcome,
                            rtt_ms: answer.rtt.as_secs_f64() * 1000.0,
                        },
                        None => ProbeLine::Lost { sequence },
                    };
                    // The reader has gone away.
                    let _ = done.send(line).await;
                });
            }
            Some(line) = results.recv() => {
                outstanding -= 1;
                if let ProbeLine::Reply { outcome: Outcome::Echo, rtt_ms, .. } = &line {
                    tally.add(*rtt_ms);
                }
                lines.put(&line).await?;
            }
        }
    }
    lines.put(&tally.summary()).await
}

pub(super) async fn trace(
    context: Context,
    request: TraceRequest,
    target: Target,
    lines: Lines,
) -> Option<()> {
    lines
        .put(&TraceLine::Started {
            address: target.address,
            name: target.name.clone(),
        })
        .await?;
    let timeout = Duration::from_millis(request.timeout_ms.into());
    for hop in 1..=request.max_hops {
        let mut answer = None;
        for _ in 0..request.tries {
            answer = context.echo(target.address, hop, 0, timeout).await;
            if answer.is_some() {
                break;
            }
        }
        let outcome = answer.as_ref().map(|a| a.outcome);
        let line = TraceLine::Hop {
            hop,
            from: answer.as_ref().map(|a| a.from),
            name: answer.as_ref().and_then(|a| a.from_name.clone()),
            outcome,
            rtt_ms: answer.as_ref().map(|a| a.rtt.as_secs_f64() * 1000.0),
        };
        lines.put(&line).await?;
        match outcome {
            Some(Outcome::Echo) => return lines.put(&TraceLine::Done { reached: true }).await,
            Some(Outcome::Unreachable | Outcome::TooBig) => break,
            Some(Outcome::TimeExceeded) | None => {}
        }
    }
    lines.put(&TraceLine::Done { reached: false }).await
}
