//! `osier ping` and `osier trace`: echoes through the mesh, sent by the node itself, so they work without a
//! TUN device and without raw sockets.

use crate::{
    control::Control,
    exit::{Exit, Failure, Outcome},
    format,
    output::{BAD, BOLD, DIM, Output, WARN, paint},
    paths::ControlArgs,
};
use osier_core::control::types::{Outcome as Answer, ProbeLine, ProbeRequest, TraceLine, TraceRequest};
use std::{net::Ipv6Addr, time::Duration};

#[derive(Debug, clap::Args)]
pub(crate) struct PingArgs {
    /// A member's name, node id or mesh address
    #[arg(value_name = "NODE|ADDR")]
    target: String,
    /// Echoes to send; 0: until interrupted
    #[arg(long, short, default_value_t = 4)]
    count: u32,
    /// Time between echoes, in seconds
    #[arg(long, short, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    interval: Duration,
    /// An echo not answered within this is lost, in seconds
    #[arg(long, short = 'W', value_name = "SECONDS", default_value = "2", value_parser = seconds)]
    timeout: Duration,
    /// Octets of data in each echo
    #[arg(long, short, value_name = "OCTETS", default_value_t = 56, value_parser = clap::value_parser!(u16).range(0..=1232))]
    size: u16,
    #[command(flatten)]
    node: ControlArgs,
}

pub(crate) async fn ping(args: &PingArgs, output: &Output) -> Outcome {
    let control = Control::new(&args.node)?;
    let address = control.resolve(&args.target).await?;
    let mut request = ProbeRequest::new(address.to_string());
    request.count = args.count;
    request.interval_ms = milliseconds(args.interval);
    request.timeout_ms = milliseconds(args.timeout);
    request.payload = args.size;
    let mut lines = control
        .client
        .probe(&request)
        .await
        .map_err(|e| control.explain(e))?;
    let mut tally = Tally::default();
    loop {
        let line = tokio::select! {
            line = lines.next() => line.transpose().map_err(|e| control.explain(e))?,
            _ = tokio::signal::ctrl_c() => None,
        };
        // Interrupted, or the daemon stopped meanwhile: what we saw is still worth a summary.
        let Some(line) = line else {
            output.stream(&tally.summary(), ping_line)?;
            break;
        };
        tally.count(&line);
        output.stream(&line, ping_line)?;
        if matches!(line, ProbeLine::Summary { .. }) {
            break;
        }
    }
    match tally.received {
        0 => Err(no_answer(&args.target, address)),
        _ => Ok(()),
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct TraceArgs {
    /// A member's name, node id or mesh address
    #[arg(value_name = "NODE|ADDR")]
    target: String,
    /// Give up after this many hops
    #[arg(long, short, default_value_t = 32, value_parser = clap::value_parser!(u8).range(1..=64))]
    max_hops: u8,
    /// Echoes per hop until one is answered
    #[arg(long, short, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=10))]
    tries: u8,
    /// How long to wait for each answer, in seconds
    #[arg(long, short = 'W', value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    timeout: Duration,
    #[command(flatten)]
    node: ControlArgs,
}

pub(crate) async fn trace(args: &TraceArgs, output: &Output) -> Outcome {
    let control = Control::new(&args.node)?;
    let address = control.resolve(&args.target).await?;
    let mut request = TraceRequest::new(address.to_string());
    request.max_hops = args.max_hops;
    request.tries = args.tries;
    request.timeout_ms = milliseconds(args.timeout);
    let mut lines = control
        .client
        .trace(&request)
        .await
        .map_err(|e| control.explain(e))?;
    let mut arrived = false;
    while let Some(line) = lines.next().await.transpose().map_err(|e| control.explain(e))? {
        output.stream(&line, trace_line)?;
        if let TraceLine::Done { reached } = line {
            arrived = reached;
        }
    }
    match arrived {
        true => Ok(()),
        false => Err(no_answer(&args.target, address)),
    }
}

fn no_answer(target: &str, address: Ipv6Addr) -> Failure {
    Failure::new(
        Exit::Unreachable,
        format!("{target} does not answer"),
        format!("`osier peers` shows whether there is a way to it, `osier routes --to {address}` which one"),
    )
}

/// Our own count, for the summary of an interrupted ping.
#[derive(Debug, Default)]
struct Tally {
    sent: u32,
    received: u32,
    total_ms: f64,
    min_ms: Option<f64>,
    max_ms: Option<f64>,
}

impl Tally {
    fn count(&mut self, line: &ProbeLine) {
        match line {
            ProbeLine::Reply {
                outcome: Answer::Echo,
                rtt_ms,
                ..
            } => {
                self.sent += 1;
                self.received += 1;
                self.total_ms += rtt_ms;
                self.min_ms = Some(self.min_ms.map_or(*rtt_ms, |m| m.min(*rtt_ms)));
                self.max_ms = Some(self.max_ms.map_or(*rtt_ms, |m| m.max(*rtt_ms)));
            }
            ProbeLine::Reply { .. } | ProbeLine::Lost { .. } => self.sent += 1,
            ProbeLine::Started { .. } | ProbeLine::Summary { .. } => {}
        }
    }

    fn summary(&self) -> ProbeLine {
        ProbeLine::Summary {
            sent: self.sent,
            received: self.received,
            min_ms: self.min_ms,
            mean_ms: (self.received > 0).then(|| self.total_ms / f64::from(self.received)),
            max_ms: self.max_ms,
        }
    }
}

fn ping_line(line: &ProbeLine) -> String {
    match line {
        ProbeLine::Started { address, name } => format!("ping {}\n", who(*address, name.as_deref())),
        ProbeLine::Reply {
            sequence,
            from,
            from_name,
            outcome,
            rtt_ms,
        } => {
            let from = who(*from, from_name.as_deref());
            match outcome {
                Answer::Echo => format!("answer from {from}: seq {sequence}, {}\n", ms(*rtt_ms)),
                other => paint(WARN, format!("{from} says: {}, seq {sequence}", reason(*other))) + "\n",
            }
        }
        ProbeLine::Lost { sequence } => paint(BAD, format!("no answer: seq {sequence}")) + "\n",
        ProbeLine::Summary {
            sent,
            received,
            min_ms,
            mean_ms,
            max_ms,
        } => {
            let lost = sent.saturating_sub(*received);
            let percent = if *sent == 0 {
                0.0
            } else {
                100.0 * f64::from(lost) / f64::from(*sent)
            };
            let mut text = format!("{sent} sent, {received} answered, {percent:.0} % lost");
            if let (Some(min), Some(mean), Some(max)) = (min_ms, mean_ms, max_ms) {
                text.push_str(&format!(
                    "; round trip min {}, mean {}, max {}",
                    ms(*min),
                    ms(*mean),
                    ms(*max)
                ));
            }
            paint(BOLD, text) + "\n"
        }
    }
}

fn trace_line(line: &TraceLine) -> String {
    match line {
        TraceLine::Started { address, name } => format!("trace to {}\n", who(*address, name.as_deref())),
        TraceLine::Hop {
            hop,
            from: Some(from),
            name,
            outcome,
            rtt_ms,
        } => {
            let time = rtt_ms.map_or(String::new(), |t| format!("  {}", ms(t)));
            let remark = match outcome {
                Some(Answer::Echo | Answer::TimeExceeded) | None => String::new(),
                Some(other) => paint(WARN, format!("  {}", reason(*other))),
            };
            format!("{hop:>3}  {}{time}{remark}\n", who(*from, name.as_deref()))
        }
        TraceLine::Hop { hop, from: None, .. } => format!("{hop:>3}  {}\n", paint(DIM, "no answer")),
        TraceLine::Done { reached: true } => String::new(),
        TraceLine::Done { reached: false } => paint(WARN, "not reached") + "\n",
    }
}

fn who(address: Ipv6Addr, name: Option<&str>) -> String {
    match name {
        Some(name) => format!("{name} ({address})"),
        None => address.to_string(),
    }
}

fn reason(outcome: Answer) -> &'static str {
    match outcome {
        Answer::Echo => "answered",
        Answer::TimeExceeded => "hop limit used up",
        Answer::Unreachable => "no way further",
        Answer::TooBig => "packet too big",
    }
}

fn ms(value: f64) -> String {
    format::rtt(Duration::try_from_secs_f64(value / 1000.0).unwrap_or_default())
}

/// Seconds with fractions, 0.01 to 60.
fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(value) if (0.01..=60.0).contains(&value) => Ok(Duration::from_secs_f64(value)),
        _ => Err("write seconds from 0.01 to 60, such as 0.2".into()),
    }
}

/// [`seconds`] bounds it far below the limit.
fn milliseconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interrupted_ping_counts_what_it_saw() {
        let mut tally = Tally::default();
        let from = Ipv6Addr::LOCALHOST;
        let reply = |rtt_ms, outcome| ProbeLine::Reply {
            sequence: 0,
            from,
            from_name: None,
            outcome,
            rtt_ms,
        };
        for line in [
            ProbeLine::Started {
                address: from,
                name: None,
            },
            reply(1.0, Answer::Echo),
            reply(3.0, Answer::Echo),
            reply(9.0, Answer::TimeExceeded),
            ProbeLine::Lost { sequence: 3 },
        ] {
            tally.count(&line);
        }
        let text = anstream::adapter::strip_str(&ping_line(&tally.summary())).to_string();
        assert_eq!(
            text,
            "4 sent, 2 answered, 50 % lost; round trip min 1.00 ms, mean 2.00 ms, max 3.00 ms\n"
        );
    }

    #[test]
    fn a_trace_reads_like_traceroute() {
        let lines = [
            TraceLine::Started {
                address: Ipv6Addr::LOCALHOST,
                name: Some("rome".into()),
            },
            TraceLine::Hop {
                hop: 1,
                from: Some("fd00::1".parse().expect("address")),
                name: Some("paris".into()),
                outcome: Some(Answer::TimeExceeded),
                rtt_ms: Some(3.2),
            },
            TraceLine::Hop {
                hop: 2,
                from: None,
                name: None,
                outcome: None,
                rtt_ms: None,
            },
            TraceLine::Hop {
                hop: 3,
                from: Some("fd00::2".parse().expect("address")),
                name: None,
                outcome: Some(Answer::Unreachable),
                rtt_ms: Some(12.0),
            },
            TraceLine::Done { reached: false },
        ];
        let text: String = lines.iter().map(trace_line).collect();
        insta::assert_snapshot!(anstream::adapter::strip_str(&text).to_string(), @r"
        trace to rome (::1)
          1  paris (fd00::1)  3.20 ms
          2  no answer
          3  fd00::2  12.0 ms  no way further
        not reached
        ");
    }

    #[test]
    fn seconds_are_bounded() {
        assert_eq!(seconds("0.2"), Ok(Duration::from_millis(200)));
        for bad in ["", "x", "0", "-1", "61", "nan", "inf"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}
