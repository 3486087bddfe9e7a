//! What goes wrong, as an app shows it.

use osier_core::{control::types, tun::TunError};

/// What went wrong, with a way out. The same codes and texts as in the control API (`docs/control-api.md`).
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Problem {
    /// Stable, machine-readable.
    pub code: String,
    /// For people.
    pub text: String,
    /// What to do about it.
    pub fix: String,
}

/// Why something was not done: the variant for programs, `why` for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, uniffi::Error)]
pub enum SessionError {
    /// The invite is unreadable, used up, expired or unknown: ask for a new one.
    #[error("{}", why.text)]
    Invite { why: Problem },
    /// The name is taken or cannot be one: ask the user for another.
    #[error("{}", why.text)]
    Name { why: Problem },
    /// No registry answers, or none that speaks for this network: try again later.
    #[error("{}", why.text)]
    Registry { why: Problem },
    /// The registry said no, or this device belongs to another network already.
    #[error("{}", why.text)]
    Refused { why: Problem },
    /// First of all, join.
    #[error("{}", why.text)]
    NotJoined { why: Problem },
    /// There is no node to ask: switched off, starting, failed, or stopped.
    #[error("{}", why.text)]
    NotRunning { why: Problem },
    /// Something else is under way: wait for its end.
    #[error("{}", why.text)]
    Busy { why: Problem },
    /// The platform refused to exempt a socket from the VPN; it was not used.
    #[error("{}", why.text)]
    NotProtected { why: Problem },
    /// What was given as the device cannot be used as one.
    #[error("{}", why.text)]
    Device { why: Problem },
    /// The state directory cannot be used.
    #[error("{}", why.text)]
    Storage { why: Problem },
    /// An argument makes no sense: a mistake in the app, or a device that nobody knows.
    #[error("{}", why.text)]
    Argument { why: Problem },
    /// A fault of this library.
    #[error("{}", why.text)]
    Internal { why: Problem },
}

impl SessionError {
    pub(crate) fn argument(text: impl Into<String>, fix: impl Into<String>) -> Self {
        let why = Problem {
            code: "bad-request".into(),
            text: text.into(),
            fix: fix.into(),
        };
        Self::Argument { why }
    }

    pub(crate) fn internal(error: &dyn std::fmt::Display) -> Self {
        let why = Problem {
            code: "internal".into(),
            text: error.to_string(),
            fix: "start the app again; its log says more".into(),
        };
        Self::Internal { why }
    }

    pub(crate) fn storage(error: &dyn std::fmt::Display) -> Self {
        let why = Problem {
            code: "disk".into(),
            text: error.to_string(),
            fix: "make room on the device, and let one program at a time use the folder".into(),
        };
        Self::Storage { why }
    }
}

impl From<types::Problem> for Problem {
    fn from(problem: types::Problem) -> Self {
        let types::Problem { code, text, fix } = problem;
        Self { code, text, fix }
    }
}

impl From<types::ErrorReply> for SessionError {
    fn from(reply: types::ErrorReply) -> Self {
        let why = Problem {
            fix: reply.fix.unwrap_or_default(),
            text: reply.message,
            code: reply.code,
        };
        match why.code.as_str() {
            "invite-invalid" | "invite-used" | "invite-expired" | "invite-unknown" => Self::Invite { why },
            "name-invalid" | "name-taken" => Self::Name { why },
            "registry-unreachable" | "registry-invalid" => Self::Registry { why },
            "refused" | "wrong-network" => Self::Refused { why },
            "not-joined" => Self::NotJoined { why },
            "off" | "starting" | "stopping" | "node-failed" => Self::NotRunning { why },
            "busy" => Self::Busy { why },
            "socket-not-protected" => Self::NotProtected { why },
            "disk" => Self::Storage { why },
            "bad-request" | "unknown-target" | "no-route" => Self::Argument { why },
            _ => Self::Internal { why },
        }
    }
}

impl From<TunError> for SessionError {
    fn from(error: TunError) -> Self {
        let fix = match &error {
            TunError::BadMtu { .. } => "give the device the MTU that tun_settings() names",
            _ => "hand over the descriptor of a TUN device that is open and belongs to nobody else",
        };
        let why = Problem {
            code: "no-tun".into(),
            text: error.to_string(),
            fix: fix.into(),
        };
        Self::Device { why }
    }
}

/// A callback of the platform's did not return: it threw something.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, uniffi::Error)]
pub enum PlatformError {
    #[error("{reason}")]
    Failed { reason: String },
}

impl From<uniffi::UnexpectedUniFFICallbackError> for PlatformError {
    fn from(error: uniffi::UnexpectedUniFFICallbackError) -> Self {
        Self::Failed { reason: error.reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_the_control_api_have_their_variant() {
        let error = |code: &str| SessionError::from(types::ErrorReply::new(code, "text").with_fix("fix"));
        assert!(matches!(error("invite-used"), SessionError::Invite { .. }));
        assert!(matches!(error("name-taken"), SessionError::Name { .. }));
        assert!(matches!(
            error("registry-unreachable"),
            SessionError::Registry { .. }
        ));
        assert!(matches!(error("wrong-network"), SessionError::Refused { .. }));
        assert!(matches!(error("not-joined"), SessionError::NotJoined { .. }));
        assert!(matches!(error("stopping"), SessionError::NotRunning { .. }));
        assert!(matches!(
            error("socket-not-protected"),
            SessionError::NotProtected { .. }
        ));
        assert!(matches!(error("disk"), SessionError::Storage { .. }));
        assert!(matches!(error("something-new"), SessionError::Internal { .. }));
        assert_eq!(error("busy").to_string(), "text");
    }

    #[test]
    fn device_that_cannot_be_used_is_explained() {
        let SessionError::Device { why } = TunError::BadMtu { mtu: 9000 }.into() else {
            panic!("another variant")
        };
        assert!(why.text.contains("9000") && !why.fix.is_empty());
    }
}
