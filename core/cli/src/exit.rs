//! Exit codes, and the one error type that reaches the user: what went wrong, and what to do about it.

use serde::Serialize;
use std::fmt::Display;

/// The exit codes that scripts can rely on. The numbers never change; new ones are added at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Anything without a code of its own.
    Failure = 1,
    Usage = 2,
    NotRunning = 3,
    NotJoined = 4,
    Permission = 5,
    Unreachable = 6,
    Refused = 7,
    Conflict = 8,
}

impl Exit {
    pub(crate) const ALL: [Self; 8] = [
        Self::Failure,
        Self::Usage,
        Self::NotRunning,
        Self::NotJoined,
        Self::Permission,
        Self::Unreachable,
        Self::Refused,
        Self::Conflict,
    ];

    pub(crate) const fn number(self) -> u8 {
        self as u8
    }

    /// The name that `--json` errors carry.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Failure => "failure",
            Self::Usage => "usage",
            Self::NotRunning => "daemon-not-running",
            Self::NotJoined => "not-joined",
            Self::Permission => "permission-denied",
            Self::Unreachable => "unreachable",
            Self::Refused => "refused",
            Self::Conflict => "conflict",
        }
    }

    pub(crate) const fn meaning(self) -> &'static str {
        match self {
            Self::Failure => "something failed; the message says what",
            Self::Usage => "wrong command line, configuration file or invite",
            Self::NotRunning => "no daemon is running on this state directory",
            Self::NotJoined => "this device has not joined a network",
            Self::Permission => "the system did not permit it",
            Self::Unreachable => "no answer: a node or registry cannot be reached, or time ran out",
            Self::Refused => {
                "the registry refused: the invite is used, expired or unknown, or the node is revoked"
            }
            Self::Conflict => {
                "it already exists: joined already, a daemon is running, a name or port is taken"
            }
        }
    }
}

/// Text for the end of `osier --help`.
pub(crate) fn help() -> String {
    let mut text = String::from("Exit codes:\n   0  done\n");
    for exit in Exit::ALL {
        text.push_str(&format!("   {}  {}\n", exit.number(), exit.meaning()));
    }
    text
}

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    /// One sentence, no full stop.
    pub(crate) message: String,
    /// What the user can do.
    pub(crate) advice: Option<String>,
}

/// What a command comes to.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            advice: Some(advice.into()),
        }
    }

    /// A failure whose message says it all.
    pub(crate) fn plain(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            advice: None,
        }
    }

    /// From an error of the system about `what`; finds the code for the common kinds.
    pub(crate) fn io(what: impl Display, error: &std::io::Error) -> Self {
        use std::io::ErrorKind as K;
        let message = format!("{what}: {error}");
        match error.kind() {
            K::PermissionDenied | K::ReadOnlyFilesystem => Self::new(
                Exit::Permission,
                message,
                "run it as root, or give another directory with write access",
            ),
            K::AddrInUse => Self::new(
                Exit::Conflict,
                message,
                "another program uses this port; stop it or choose another port",
            ),
            K::AlreadyExists => Self::plain(Exit::Conflict, message),
            K::StorageFull | K::QuotaExceeded => {
                Self::new(Exit::Failure, message, "free some disk space and try again")
            }
            K::TimedOut | K::ConnectionRefused | K::HostUnreachable | K::NetworkUnreachable => {
                Self::plain(Exit::Unreachable, message)
            }
            _ => Self::plain(Exit::Failure, message),
        }
    }

    /// The object that `--json` prints on standard output in place of a result.
    pub(crate) fn to_json(&self) -> impl Serialize + '_ {
        #[derive(Serialize)]
        struct Document<'a> {
            error: Body<'a>,
        }
        #[derive(Serialize)]
        struct Body<'a> {
            code: &'static str,
            exit: u8,
            message: &'a str,
            advice: Option<&'a str>,
        }
        Document {
            error: Body {
                code: self.exit.name(),
                exit: self.exit.number(),
                message: &self.message,
                advice: self.advice.as_deref(),
            },
        }
    }
}

impl From<anyhow::Error> for Failure {
    /// Keeps the whole chain of causes; an input/output error anywhere in it decides the code.
    fn from(error: anyhow::Error) -> Self {
        let message = format!("{error:#}");
        match error
            .chain()
            .find_map(|cause| cause.downcast_ref::<std::io::Error>())
        {
            Some(io) => Self {
                message,
                ..Self::io("", io)
            },
            None => Self::plain(Exit::Failure, message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_distinct_and_ascending_from_one() {
        let numbers: Vec<u8> = Exit::ALL.iter().map(|e| e.number()).collect();
        assert_eq!(numbers, (1..=8).collect::<Vec<u8>>());
    }

    #[test]
    fn help_names_every_code() {
        let text = help();
        for exit in Exit::ALL {
            assert!(text.contains(&format!("{}  {}", exit.number(), exit.meaning())));
        }
    }

    #[test]
    fn an_io_error_in_a_chain_decides_the_code() {
        let inner = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
        let failure = Failure::from(anyhow::Error::from(inner).context("cannot write the state file"));
        assert_eq!(failure.exit, Exit::Permission);
        assert!(failure.message.starts_with("cannot write the state file: "));
        assert!(failure.advice.is_some());
    }
}
