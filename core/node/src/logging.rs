//! Logging: to standard error and to a ring buffer that the control API shows.

/// Installs the process-wide subscriber; later calls only change the level. `filter` is in the syntax of
/// `RUST_LOG`, for example `info` or `osier_proto=debug,info`.
///
/// # Errors
/// When the filter cannot be parsed.
pub fn init(_filter: &str) -> Result<(), BadFilter> {
    todo!()
}

#[derive(Debug, thiserror::Error)]
#[error("{filter:?} is not a log filter ({reason}): use error, warn, info, debug, trace, or MODULE=LEVEL,…")]
pub struct BadFilter {
    pub filter: String,
    pub reason: String,
}
