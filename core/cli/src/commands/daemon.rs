//! `osier down`, `reload`, `logs` and `events`: steering and watching the running node.

use crate::{
    control::Control,
    exit::{Exit, Failure, Outcome},
    format,
    output::{BAD, DIM, GOOD, Output, WARN, paint},
    paths::ControlArgs,
    progress::Progress,
    render,
};
use osier_core::control::types::{Event, EventLine, LogLine};

#[derive(Debug, clap::Args)]
pub(crate) struct DownArgs {
    #[command(flatten)]
    node: ControlArgs,
}

pub(crate) async fn down(args: &DownArgs, output: &Output) -> Outcome {
    let control = Control::new(&args.node)?;
    let progress = Progress::start(output, "moving traffic to other nodes");
    let reply = control.client.down().await.map_err(|e| control.explain(e))?;
    drop(progress);
    output.show(&reply, |r| {
        format!("stopped in {:.1} s\n", r.elapsed_ms as f64 / 1000.0)
    })
}

#[derive(Debug, clap::Args)]
pub(crate) struct ReloadArgs {
    #[command(flatten)]
    node: ControlArgs,
}

pub(crate) async fn reload(args: &ReloadArgs, output: &Output) -> Outcome {
    let control = Control::new(&args.node)?;
    let reply = control.client.reload().await.map_err(|e| match e {
        osier_core::control::client::ClientError::Refused { code, message, .. } if code == "bad-settings" => Failure::new(
            Exit::Failure,
            message,
            "correct settings.toml in the state directory and reload again; the node goes on with the old settings",
        ),
        other => control.explain(other),
    })?;
    output.show(&reply, |r| {
        let mut text = match r.applied.is_empty() {
            true => "nothing changed\n".to_owned(),
            false => format!("applied: {}\n", r.applied.join(", ")),
        };
        if !r.needs_restart.is_empty() {
            let list = r.needs_restart.join(", ");
            text.push_str(&format!(
                "{} {list}\n",
                paint(WARN, "restart the daemon to apply:")
            ));
        }
        text
    })
}

#[derive(Debug, clap::Args)]
pub(crate) struct LogsArgs {
    /// Go on with new lines until interrupted
    #[arg(long, short)]
    follow: bool,
    /// How many of the newest lines to begin with
    #[arg(long, short = 'n', value_name = "N", default_value_t = 100)]
    lines: usize,
    #[command(flatten)]
    node: ControlArgs,
}

pub(crate) async fn logs(args: &LogsArgs, output: &Output) -> Outcome {
    let control = Control::new(&args.node)?;
    let mut lines = control
        .client
        .logs(args.lines, args.follow)
        .await
        .map_err(|e| control.explain(e))?;
    while let Some(line) = lines.next().await.transpose().map_err(|e| control.explain(e))? {
        output.stream(&line, log_line)?;
    }
    Ok(())
}

#[derive(Debug, clap::Args)]
pub(crate) struct EventsArgs {
    /// End after this many events
    #[arg(long, short, value_name = "N")]
    count: Option<u64>,
    #[command(flatten)]
    node: ControlArgs,
}

pub(crate) async fn events(args: &EventsArgs, output: &Output) -> Outcome {
    let control = Control::new(&args.node)?;
    let mut lines = control.client.events().await.map_err(|e| control.explain(e))?;
    let mut seen = 0;
    while args.count.is_none_or(|count| seen < count) {
        let Some(line) = lines.next().await.transpose().map_err(|e| control.explain(e))? else {
            break;
        };
        output.stream(&line, event_line)?;
        // The greeting is no event.
        seen += u64::from(!matches!(line.event, Event::Hello { .. }));
    }
    Ok(())
}

fn log_line(line: &LogLine) -> String {
    let style = match line.level.as_str() {
        "ERROR" => BAD,
        "WARN" => WARN,
        "INFO" => GOOD,
        _ => DIM,
    };
    let time = paint(DIM, format::timestamp(line.unix_ms));
    format!(
        "{time} {} {} {}\n",
        paint(style, format!("{:<5}", line.level)),
        paint(DIM, &line.target),
        line.message
    )
}

fn event_line(line: &EventLine) -> String {
    let text = match &line.event {
        Event::Hello {
            name: Some(name),
            address: Some(address),
        } => format!("watching {name} ({address})"),
        Event::Hello { .. } => "watching".into(),
        Event::ServiceChanged { service } => render::service(service).trim_end().to_owned(),
        Event::NeighbourUp { name, .. } => format!("{} {name}", paint(GOOD, "neighbour up")),
        Event::NeighbourDown { name, reason, .. } => {
            format!("{} {name}: {reason}", paint(WARN, "neighbour down"))
        }
        Event::RouteChanged {
            prefix,
            via: Some(via),
            metric,
        } => format!("route {prefix} via {via}, metric {metric}"),
        Event::RouteChanged {
            prefix, via: None, ..
        } => format!("{} {prefix}", paint(WARN, "route lost")),
        Event::Revoked { node } => format!("{} {node}", paint(WARN, "revoked")),
        Event::Excluded { reason } => format!("{} {reason}", paint(BAD, "this node is excluded:")),
        Event::HealthChanged { health } if health.is_empty() => paint(GOOD, "all is well"),
        Event::HealthChanged { health } => format!("health changed\n{}", render::health(health).trim_end()),
        Event::Missed { count } => paint(WARN, format!("{count} events missed: this reader is too slow")),
        Event::Stopping => "stopping".into(),
        Event::Stopped => "stopped".into(),
        Event::Unknown => "something that this version does not know".into(),
    };
    format!("{} {text}\n", paint(DIM, format::timestamp(line.unix_ms)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn log_lines_have_a_fixed_head() {
        let line = LogLine {
            unix_ms: 1_795_406_412_345,
            level: "WARN".into(),
            target: "osier_core::udp".into(),
            message: "port taken port=6697".into(),
        };
        assert_eq!(
            plain(&log_line(&line)),
            "2026-11-23T04:00:12.345Z WARN  osier_core::udp port taken port=6697\n"
        );
    }

    #[test]
    fn events_read_as_sentences() {
        let events = [
            Event::Hello {
                name: Some("rome".into()),
                address: Some("fd00::1".parse().expect("address")),
            },
            Event::NeighbourUp {
                node: "id".into(),
                name: "paris".into(),
            },
            Event::RouteChanged {
                prefix: "fd00::/64".parse().expect("prefix"),
                via: Some("paris".into()),
                metric: 96,
            },
            Event::RouteChanged {
                prefix: "fd00::/64".parse().expect("prefix"),
                via: None,
                metric: 65535,
            },
            Event::NeighbourDown {
                node: "id".into(),
                name: "paris".into(),
                reason: "silent".into(),
            },
            Event::Excluded {
                reason: "revoked".into(),
            },
            Event::HealthChanged { health: Vec::new() },
            Event::Missed { count: 3 },
            Event::Stopping,
        ];
        let text: String = events
            .into_iter()
            .map(|event| event_line(&EventLine { unix_ms: 0, event }))
            .collect();
        insta::assert_snapshot!(plain(&text).replace("1970-01-01T00:00:00.000Z ", ""), @r"
        watching rome (fd00::1)
        neighbour up paris
        route fd00::/64 via paris, metric 96
        route lost fd00::/64
        neighbour down paris: silent
        this node is excluded: revoked
        all is well
        3 events missed: this reader is too slow
        stopping
        ");
    }
}
