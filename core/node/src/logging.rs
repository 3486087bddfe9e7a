//! Logging: to standard error and to a ring buffer that the control API shows.
//!
//! Nothing secret reaches a log: the types that hold keys and tokens do not print them, and invites are never
//! passed to a log macro.

use crate::{clock, control::types::LogLine};
use std::{
    collections::VecDeque,
    fmt::{self, Write as _},
    io::IsTerminal,
    sync::{Mutex, OnceLock, PoisonError},
};
use tokio::sync::broadcast;
use tracing::{Event, Subscriber, field::Visit};
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    layer::{Context, SubscriberExt},
    reload,
    util::SubscriberInitExt,
};

/// Lines kept for `osier logs`.
const KEPT: usize = 1000;
/// Octets of one line; longer ones are cut.
const LONGEST: usize = 1024;

#[derive(Debug, thiserror::Error)]
#[error("{filter:?} is not a log filter ({reason}): use error, warn, info, debug, trace, or MODULE=LEVEL,…")]
pub struct BadFilter {
    pub filter: String,
    pub reason: String,
}

static FILTER: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// Installs the process-wide subscriber; later calls only change the level. `filter` is in the syntax of
/// `RUST_LOG`, for example `info` or `osier_proto=debug,info`. When the embedding program has installed a
/// subscriber of its own, that one stays (add [`layer`] to it).
///
/// # Errors
/// When the filter cannot be parsed.
pub fn init(filter: &str) -> Result<(), BadFilter> {
    install(filter, true)
}

/// As [`init`], but to the ring buffer alone: for an embedder that takes the lines from [`ring`] to where its platform
/// wants them.
///
/// # Errors
/// When the filter cannot be parsed.
pub fn init_ring(filter: &str) -> Result<(), BadFilter> {
    install(filter, false)
}

fn install(filter: &str, to_standard_error: bool) -> Result<(), BadFilter> {
    let parsed = parse(filter)?;
    if let Some(handle) = FILTER.get() {
        let _ = handle.reload(parsed);
        return Ok(());
    }
    let (parsed, handle) = reload::Layer::new(parsed);
    let standard_error = to_standard_error.then(|| {
        tracing_subscriber::fmt::layer()
            .with_writer(std::io::stderr)
            .with_ansi(colours())
            .with_target(false)
    });
    let installed = tracing_subscriber::registry()
        .with(parsed)
        .with(standard_error)
        .with(layer())
        .try_init();
    if installed.is_ok() {
        let _ = FILTER.set(handle);
    }
    Ok(())
}

/// Only people like them, and not all: see no-color.org.
fn colours() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
}

/// Whether `filter` can be parsed.
pub fn parse(filter: &str) -> Result<EnvFilter, BadFilter> {
    EnvFilter::builder().parse(filter).map_err(|e| BadFilter {
        filter: filter.to_owned(),
        reason: e.to_string(),
    })
}

/// The layer that fills the ring buffer.
pub fn layer() -> RingLayer {
    RingLayer(())
}

/// Writes every event to the ring buffer.
#[derive(Debug)]
pub struct RingLayer(());

impl<S: Subscriber> Layer<S> for RingLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut text = Text::default();
        event.record(&mut text);
        ring().push(LogLine {
            unix_ms: clock::unix_ms(),
            level: event.metadata().level().to_string(),
            target: event.metadata().target().to_owned(),
            message: text.finish(),
        });
    }
}

/// A message with its fields.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn fmt::Debug) {
        // Writing to a string cannot fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }

    fn record_str(&mut self, field: &tracing::field::Field, value: &str) {
        let _ = match field.name() {
            "message" => write!(self.message, "{value}"),
            name => write!(self.fields, " {name}={value}"),
        };
    }
}

impl Text {
    fn finish(mut self) -> String {
        self.message.push_str(&self.fields);
        if self.message.len() > LONGEST {
            let end = (0..=LONGEST)
                .rev()
                .find(|at| self.message.is_char_boundary(*at))
                .unwrap_or(0);
            self.message.truncate(end);
            self.message.push('…');
        }
        self.message
    }
}

/// The newest lines of the process, and a way to follow them.
#[derive(Debug)]
pub struct Ring {
    lines: Mutex<VecDeque<LogLine>>,
    followers: broadcast::Sender<LogLine>,
}

/// The process's ring buffer.
pub fn ring() -> &'static Ring {
    static RING: OnceLock<Ring> = OnceLock::new();
    RING.get_or_init(Ring::new)
}

impl Ring {
    fn new() -> Self {
        Self {
            lines: Mutex::default(),
            followers: broadcast::channel(64).0,
        }
    }

    fn push(&self, line: LogLine) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == KEPT {
            lines.pop_front();
        }
        // Under the lock, so that no follower gets a line twice or misses one (see `follow`).
        let _ = self.followers.send(line.clone());
        lines.push_back(line);
    }

    /// The newest `limit` lines, oldest first, and all that come after them.
    pub fn follow(&self, limit: usize) -> (Vec<LogLine>, broadcast::Receiver<LogLine>) {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let skipped = lines.len().saturating_sub(limit);
        (
            lines.iter().skip(skipped).cloned().collect(),
            self.followers.subscribe(),
        )
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn line(n: usize) -> LogLine {
        LogLine {
            unix_ms: n as u64,
            level: "INFO".into(),
            target: "t".into(),
            message: n.to_string(),
        }
    }

    #[test]
    fn ring_keeps_the_newest_lines_in_order() {
        let ring = Ring::new();
        (0..KEPT + 5).for_each(|n| ring.push(line(n)));
        let (lines, _) = ring.follow(usize::MAX);
        assert_eq!(lines.len(), KEPT);
        assert_eq!(lines[0].unix_ms, 5);
        let (lines, _) = ring.follow(2);
        assert_eq!(
            lines.iter().map(|l| l.unix_ms as usize).collect::<Vec<_>>(),
            [KEPT + 3, KEPT + 4]
        );
    }

    #[test]
    fn follower_gets_what_comes_after_the_backlog() {
        let ring = Ring::new();
        ring.push(line(1));
        let (backlog, mut rest) = ring.follow(10);
        ring.push(line(2));
        assert_eq!(backlog.len(), 1);
        assert_eq!(rest.try_recv().unwrap().unix_ms, 2);
    }

    #[test]
    fn long_messages_are_cut_at_a_character() {
        let text = Text {
            message: "é".repeat(LONGEST),
            fields: String::new(),
        };
        let cut = text.finish();
        assert!(cut.len() <= LONGEST + '…'.len_utf8());
        assert!(cut.ends_with('…'));
    }

    #[test]
    fn events_reach_the_ring_with_their_fields() {
        let subscriber = tracing_subscriber::registry().with(layer());
        tracing::subscriber::with_default(subscriber, || tracing::warn!(count = 3, name = "x", "ring test"));
        let (lines, _) = ring().follow(usize::MAX);
        let found = lines.iter().find(|l| l.message.starts_with("ring test")).unwrap();
        assert_eq!(found.message, "ring test count=3 name=x");
        assert_eq!(found.level, "WARN");
    }

    #[test]
    fn bad_filter_is_explained() {
        assert!(
            parse("osier=shout")
                .unwrap_err()
                .to_string()
                .contains("MODULE=LEVEL")
        );
        parse("osier_proto=debug,info").unwrap();
    }
}
