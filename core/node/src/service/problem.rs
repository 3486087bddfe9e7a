//! Errors as a front end shows them: a stable code, what is wrong, what to do.

use crate::{
    control::types::{ErrorReply, Problem},
    daemon::DaemonError,
    join::JoinError,
    state::StateError,
    tun::TunError,
    udp::UdpError,
};

/// The switch took effect but is not on disk.
pub(super) const NOT_REMEMBERED: &str = "switch-not-remembered";

/// The embedder's system refused a socket of ours.
const NOT_PROTECTED: (&str, &str) = (
    "socket-not-protected",
    "let this app be the VPN (another one may have taken its place), then switch on again",
);

/// Why a node does not run.
pub(super) fn of(error: &DaemonError) -> Problem {
    let (code, fix) = match error {
        DaemonError::State(error) => of_state(error),
        DaemonError::Udp(UdpError::InUse(_)) => (
            "port-in-use",
            "end the program that uses the port, or set another `port` in settings.toml",
        ),
        DaemonError::Udp(UdpError::Privileged(_)) => {
            ("port-privileged", "set a `port` of 1024 or more in settings.toml")
        }
        DaemonError::Udp(UdpError::NotProtected(_)) => NOT_PROTECTED,
        DaemonError::Udp(_) => ("no-udp", "see the log"),
        DaemonError::Tun(TunError::Permission { .. }) => (
            "no-permission",
            "run the service as root or with CAP_NET_ADMIN: `osier service show` prints a unit that does",
        ),
        DaemonError::Tun(TunError::Busy { .. }) => (
            "device-in-use",
            "end the program that uses the device, or set another `tun` in settings.toml",
        ),
        DaemonError::Tun(_) => ("no-tun", "load the system's TUN driver, then switch on again"),
        DaemonError::Node(_) => (
            "membership-unusable",
            "leave the network and join again with a new invite",
        ),
        DaemonError::Settings(_) | DaemonError::Logging(_) => {
            ("bad-settings", "correct settings.toml in the state directory")
        }
        DaemonError::Control(_)
        | DaemonError::System { .. }
        | DaemonError::NotRunning
        | DaemonError::Failed(_)
        | DaemonError::Crashed => ("stopped", "it is started again by itself; the log says more"),
    };
    Problem {
        code: code.into(),
        text: error.to_string(),
        fix: fix.into(),
    }
}

fn of_state(error: &StateError) -> (&'static str, &'static str) {
    match error {
        StateError::Settings { .. } => ("bad-settings", "correct settings.toml in the state directory"),
        StateError::Newer { .. } => ("state-newer", "update this Osier"),
        StateError::Damaged { .. } => ("state-damaged", "join again with an invite; the keys are kept"),
        StateError::IdentityDamaged { .. } => (
            "identity-damaged",
            "restore identity.key from a backup, or leave and join again",
        ),
        StateError::Read { .. }
        | StateError::Write { .. }
        | StateError::Locked { .. }
        | StateError::Empty(_) => (
            "disk",
            "make the state directory readable and writable for the service",
        ),
    }
}

pub(super) fn not_remembered(error: &StateError) -> Problem {
    Problem {
        code: NOT_REMEMBERED.into(),
        text: format!("the switch will be forgotten at a restart: {error}"),
        fix: "make room or make the state directory writable, then switch again".into(),
    }
}

/// Why a join failed.
pub(super) fn of_join(error: &JoinError) -> ErrorReply {
    let (code, fix) = match error {
        JoinError::OtherNetwork { .. } => ("wrong-network", "leave it first, then join with this invite"),
        JoinError::BadName(_) => ("name-invalid", "use 1 to 63 letters, digits and hyphens"),
        JoinError::Unreachable(_) => (
            "registry-unreachable",
            "check this machine's network, and whether the registry runs, then try again",
        ),
        JoinError::NotProtected(_) => NOT_PROTECTED,
        JoinError::Invalid(_) => (
            "registry-invalid",
            "check this machine's clock; ask whoever made the invite for a new one",
        ),
        JoinError::State(_) => (
            "disk",
            "make the state directory readable and writable for the service",
        ),
        JoinError::Refused { code, .. } => match code.as_str() {
            "token-used" => ("invite-used", "ask for a new invite: `osier invite` makes one"),
            "token-expired" => ("invite-expired", "ask for a new invite: `osier invite` makes one"),
            "token-unknown" => ("invite-unknown", "ask for a new invite: `osier invite` makes one"),
            "name-taken" => ("name-taken", "choose another name"),
            "revoked" => ("refused", "leave the network, then join with a new invite"),
            _ => ("refused", "ask the network's operator"),
        },
    };
    ErrorReply::new(code, error.to_string()).with_fix(fix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_of_a_join_has_its_code() {
        let refused = |code: &str| JoinError::Refused {
            code: code.into(),
            message: "no".into(),
        };
        for (error, code) in [
            (refused("token-used"), "invite-used"),
            (refused("token-expired"), "invite-expired"),
            (refused("token-unknown"), "invite-unknown"),
            (refused("name-taken"), "name-taken"),
            (refused("network-full"), "refused"),
            (JoinError::Unreachable("x".into()), "registry-unreachable"),
            (JoinError::NotProtected("x".into()), "socket-not-protected"),
            (JoinError::Invalid("x".into()), "registry-invalid"),
            (JoinError::BadName("x".into()), "name-invalid"),
            (JoinError::State(StateError::Empty("x".into())), "disk"),
        ] {
            let reply = of_join(&error);
            assert_eq!(reply.code, code);
            assert!(reply.fix.is_some());
        }
    }

    #[test]
    fn start_that_failed_tells_what_to_do() {
        let cases = [
            (DaemonError::Udp(UdpError::InUse(7)), "port-in-use"),
            (
                DaemonError::Udp(UdpError::NotProtected("x".into())),
                "socket-not-protected",
            ),
            (DaemonError::Failed("x".into()), "stopped"),
            (
                StateError::Newer {
                    path: "x".into(),
                    version: 9,
                }
                .into(),
                "state-newer",
            ),
        ];
        for (error, code) in cases {
            let problem = of(&error);
            assert_eq!(problem.code, code);
            assert!(!problem.fix.is_empty() && !problem.text.is_empty());
        }
    }
}
