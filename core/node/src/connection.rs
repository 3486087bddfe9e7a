//! Whether traffic gets through, from what was seen. Pure; `docs/control-api.md` says what the states mean.

use crate::control::types::{Connection, ConnectionState, Evidence, UdpState, UdpView};

/// An answer older than this proves nothing about now, in seconds.
pub(crate) const FRESH: u64 = 60;
/// A node that has heard nobody for less than this has only just started, in seconds.
const BEGINNING: u64 = 10;
/// UDP is not called blocked before it has been silent for this long, in seconds.
const SILENCE: u64 = 20;
/// Nor with fewer members tried: one may simply be off.
const TRIED: usize = 2;

/// What was seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    /// Unix seconds.
    pub(crate) now: u64,
    /// Seconds.
    pub(crate) uptime: u64,
    pub(crate) excluded: bool,
    /// Seconds ago, by whom, by what.
    pub(crate) verified: Option<(u64, String, Evidence)>,
    pub(crate) usable: usize,
    pub(crate) wanted: usize,
    /// Members known besides ourselves.
    pub(crate) others: usize,
    pub(crate) direct: usize,
    pub(crate) relayed: usize,
    /// Without loopback.
    pub(crate) local_addresses: usize,
    /// Seconds since something authentic came over UDP, if it did since our addresses changed.
    pub(crate) heard: Option<u64>,
    /// Seconds since then, or since our addresses changed.
    pub(crate) silent: u64,
    pub(crate) unanswered: usize,
    /// Seconds since the registry answered, if it did so last time.
    pub(crate) registry: Option<u64>,
    /// Why the system would not send the last datagram.
    pub(crate) refused: Option<String>,
}

pub(crate) fn assess(f: &Facts) -> Connection {
    let udp = udp(f);
    let through_relays = f.relayed > 0 && f.direct <= 1;
    let fresh = f.verified.as_ref().is_some_and(|(ago, ..)| *ago <= FRESH);
    let state = if f.excluded {
        ConnectionState::Excluded
    } else if fresh && f.usable > 0 {
        match through_relays {
            true => ConnectionState::Relayed,
            false => ConnectionState::Connected,
        }
    } else if f.local_addresses == 0 {
        ConnectionState::Offline
    } else if udp.state == UdpState::SeemsBlocked {
        ConnectionState::Limited
    } else if f.others == 0 {
        ConnectionState::Alone
    } else if f.verified.is_none() && f.uptime < BEGINNING {
        ConnectionState::Starting
    } else {
        ConnectionState::Looking
    };
    let (ago, with, evidence) = match &f.verified {
        Some((ago, with, evidence)) => (Some(*ago), Some(with.clone()), Some(*evidence)),
        None => (None, None, None),
    };
    Connection {
        state,
        verified_at: ago.map(|ago| f.now.saturating_sub(ago)),
        verified_seconds: ago,
        verified_with: with,
        evidence,
        neighbours: f.usable,
        wanted: f.wanted,
        direct: f.direct,
        relayed: f.relayed,
        through_relays,
        udp,
        local_addresses: f.local_addresses,
    }
}

/// Whether UDP gets through, and how that is concluded.
fn udp(f: &Facts) -> UdpView {
    let view = |state, why: String| UdpView {
        state,
        why,
        unanswered: f.unanswered,
    };
    if let Some(reason) = f.refused.as_ref().filter(|_| f.usable == 0) {
        let why = format!("this system refuses to send UDP ({reason}): a firewall on this machine, perhaps");
        return view(UdpState::SeemsBlocked, why);
    }
    if let Some(ago) = f.heard.filter(|ago| *ago <= FRESH || f.usable > 0) {
        return view(UdpState::Works, format!("a member was heard {ago} s ago"));
    }
    let tried = format!(
        "{} members were tried, and nothing has come for {} s",
        f.unanswered, f.silent
    );
    // An answer from before the silence proves nothing about it.
    match f.registry.filter(|ago| *ago <= f.silent) {
        Some(ago) if f.silent >= SILENCE && f.unanswered >= TRIED => view(
            UdpState::SeemsBlocked,
            format!(
                "{tried}, while the registry answered over TCP {ago} s ago (or all those members are off)"
            ),
        ),
        Some(_) => view(
            UdpState::Unknown,
            format!("{tried}; the registry answers over TCP"),
        ),
        None => view(
            UdpState::Unknown,
            format!("{tried}; the registry has not answered over TCP either"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Five neighbours of six wanted, the last answer 7 s ago.
    fn well() -> Facts {
        Facts {
            now: 1_000_000,
            uptime: 3600,
            verified: Some((7, "paris".into(), Evidence::Echo)),
            usable: 5,
            wanted: 6,
            others: 40,
            direct: 5,
            relayed: 35,
            local_addresses: 2,
            heard: Some(1),
            silent: 1,
            registry: Some(30),
            ..Facts::default()
        }
    }

    /// Nobody has answered since the network changed a minute ago, but the registry has.
    fn silent() -> Facts {
        Facts {
            verified: None,
            usable: 0,
            direct: 0,
            relayed: 0,
            heard: None,
            silent: 60,
            unanswered: 4,
            ..well()
        }
    }

    #[test]
    fn connected_takes_an_answer_within_the_last_minute() {
        let good = assess(&well());
        assert_eq!(good.state, ConnectionState::Connected);
        assert_eq!(
            (good.verified_at, good.verified_seconds),
            (Some(999_993), Some(7))
        );
        assert_eq!(good.verified_with.as_deref(), Some("paris"));
        let old = |ago| Facts {
            verified: Some((ago, "paris".into(), Evidence::Handshake)),
            ..well()
        };
        assert_eq!(assess(&old(60)).state, ConnectionState::Connected);
        assert_eq!(assess(&old(61)).state, ConnectionState::Looking);
        // An open socket, or a neighbour that has died since, is no connection.
        assert_eq!(
            assess(&Facts { usable: 0, ..well() }).state,
            ConnectionState::Looking
        );
        assert_eq!(
            assess(&Facts {
                verified: None,
                ..well()
            })
            .state,
            ConnectionState::Looking
        );
    }

    #[test]
    fn one_neighbour_that_relays_all_else_is_told() {
        let one = Facts {
            usable: 1,
            direct: 1,
            relayed: 39,
            ..well()
        };
        assert_eq!(assess(&one).state, ConnectionState::Relayed);
        let alone_with_it = Facts { relayed: 0, ..one };
        assert_eq!(assess(&alone_with_it).state, ConnectionState::Connected);
    }

    #[test]
    fn udp_is_called_blocked_for_a_reason_only() {
        let blocked = assess(&silent());
        assert_eq!(blocked.state, ConnectionState::Limited);
        assert!(blocked.udp.why.contains("4 members") && blocked.udp.why.contains("registry"));
        for doubt in [
            Facts {
                unanswered: 1,
                ..silent()
            },
            Facts {
                silent: 19,
                registry: Some(3),
                ..silent()
            },
            // No answer since the silence began: perhaps there is no network at all.
            Facts {
                registry: Some(61),
                ..silent()
            },
            Facts {
                registry: None,
                ..silent()
            },
        ] {
            let connection = assess(&doubt);
            assert_eq!(connection.udp.state, UdpState::Unknown, "{doubt:?}");
            assert_eq!(connection.state, ConnectionState::Looking, "{doubt:?}");
        }
        let refused = Facts {
            refused: Some("operation not permitted".into()),
            registry: None,
            ..silent()
        };
        assert_eq!(assess(&refused).state, ConnectionState::Limited);
        assert_eq!(assess(&well()).udp.state, UdpState::Works);
    }

    #[test]
    fn graver_reasons_come_first() {
        let cases = [
            (
                Facts {
                    excluded: true,
                    ..well()
                },
                ConnectionState::Excluded,
            ),
            (
                Facts {
                    local_addresses: 0,
                    ..silent()
                },
                ConnectionState::Offline,
            ),
            // Members on the same machine.
            (
                Facts {
                    local_addresses: 0,
                    ..well()
                },
                ConnectionState::Connected,
            ),
            (
                Facts {
                    others: 0,
                    unanswered: 0,
                    ..silent()
                },
                ConnectionState::Alone,
            ),
            (
                Facts {
                    uptime: 3,
                    silent: 3,
                    unanswered: 0,
                    ..silent()
                },
                ConnectionState::Starting,
            ),
        ];
        for (facts, state) in cases {
            assert_eq!(assess(&facts).state, state, "{facts:?}");
        }
    }
}
