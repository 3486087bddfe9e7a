//! Talking to the daemon of a state directory.

use crate::{
    exit::{Exit, Failure, Outcome},
    paths::ControlArgs,
};
use osier_core::control::{
    client::{Client, ClientError},
    types::{Member, Service},
};
use std::{net::Ipv6Addr, path::PathBuf};

/// The daemon that a command is about.
#[derive(Debug)]
pub(crate) struct Control {
    pub(crate) client: Client,
    state_dir: PathBuf,
}

impl Control {
    pub(crate) fn new(args: &ControlArgs) -> Outcome<Self> {
        let state_dir = args.state_dir()?;
        let client = match &args.socket {
            Some(path) => Client::at(path),
            None => Client::in_state_dir(&state_dir),
        };
        Ok(Self { client, state_dir })
    }

    /// The service that a command about membership is for, if one runs: that of the directory or socket that was named,
    /// or the system's for who has no node of their own.
    pub(crate) async fn service(args: &ControlArgs) -> Outcome<Option<(Self, Service)>> {
        let control = Self::new(args)?;
        match control.client.service().await {
            Ok(service) if service.managed => Ok(Some((control, service))),
            Err(error @ ClientError::PermissionDenied { .. }) => Err(control.explain(error)),
            _ => Ok(None),
        }
    }

    /// Gives a client's error its exit code and advice.
    pub(crate) fn explain(&self, error: ClientError) -> Failure {
        let dir = self.state_dir.display();
        match &error {
            ClientError::NotRunning { .. } if !crate::paths::is_member(&self.state_dir) => {
                not_joined(&self.state_dir)
            }
            ClientError::NotRunning { .. } => Failure::new(
                Exit::NotRunning,
                format!("no daemon is running on {dir}"),
                "start it with `osier up`, or `systemctl start osier` where it is installed as a service",
            ),
            ClientError::PermissionDenied { socket } => Failure::new(
                Exit::Permission,
                format!("no permission to talk to the daemon at {}", socket.display()),
                "use the user that runs the daemon, or sudo; `control_group` in settings.toml lets a group in",
            ),
            ClientError::Timeout(_) => Failure::new(
                Exit::Unreachable,
                error.to_string(),
                "see what it is doing: `journalctl -u osier` or the terminal that runs `osier up`",
            ),
            ClientError::Refused { code, fix, .. } => match code.as_str() {
                "off" | "starting" | "node-failed" => advised(Exit::NotRunning, &error, fix.clone()),
                "not-joined" => advised(Exit::NotJoined, &error, fix.clone()),
                "not-a-service" | "busy" | "hosts-none" | "cannot-host" | "no-address" => {
                    advised(Exit::Conflict, &error, fix.clone())
                }
                "unknown-target" => unknown_target(&error.to_string()),
                "bad-request" => Failure::plain(Exit::Usage, error.to_string()),
                "stopping" => Failure::plain(Exit::NotRunning, error.to_string()),
                _ => Failure::plain(Exit::Failure, error.to_string()),
            },
            ClientError::Broken(_) | ClientError::Nonsense(_) => {
                Failure::plain(Exit::Failure, error.to_string())
            }
        }
    }

    /// The address of NODE: a mesh address, a member's name or its node id (or the start of one, if no other
    /// begins so).
    pub(crate) async fn resolve(&self, node: &str) -> Outcome<Ipv6Addr> {
        if let Ok(address) = node.parse() {
            return Ok(address);
        }
        let members = self.client.members().await.map_err(|e| self.explain(e))?;
        find(&members, node).map(|m| m.address)
    }
}

fn advised(exit: Exit, error: &ClientError, advice: Option<String>) -> Failure {
    Failure {
        exit,
        message: error.to_string(),
        advice,
    }
}

pub(crate) fn not_joined(state_dir: &std::path::Path) -> Failure {
    Failure::new(
        Exit::NotJoined,
        format!("{} belongs to no network", state_dir.display()),
        "get an invite from someone who runs `osier invite`, then run `osier join INVITE`; \
         or name another directory with --state-dir",
    )
}

fn unknown_target(message: &str) -> Failure {
    Failure::new(
        Exit::Unreachable,
        message,
        "`osier members` lists who is known here",
    )
}

/// Fewest characters of a node id that stand for it.
const SHORTEST_ID: usize = 6;

fn find<'a>(members: &'a [Member], wanted: &str) -> Outcome<&'a Member> {
    if let Some(member) = members.iter().find(|m| m.name.eq_ignore_ascii_case(wanted)) {
        return Ok(member);
    }
    let mut by_id = members
        .iter()
        .filter(|m| wanted.len() >= SHORTEST_ID && m.node.starts_with(wanted));
    match (by_id.next(), by_id.next()) {
        (Some(member), None) => Ok(member),
        (Some(a), Some(b)) => Err(Failure::new(
            Exit::Usage,
            format!("`{wanted}` is the start of more than one node id"),
            format!("give more of it, or a name: {} or {}", a.name, b.name),
        )),
        (None, _) => Err(unknown_target(&format!("no member is called `{wanted}`"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, node: &str) -> Member {
        serde_json::from_value(serde_json::json!({
            "name": name, "node": node, "address": "fd00::1", "prefixes": [], "own": false, "reachable": true,
            "endpoints": [], "leaf": false, "relay": true, "serial": 1, "not_after": 1, "sequence": 1,
        }))
        .expect("a member")
    }

    #[test]
    fn a_name_comes_before_the_start_of_an_id() {
        let members = [member("berlin", "abcdefgh"), member("abcdef", "zzzzzzzz")];
        assert_eq!(find(&members, "abcdef").expect("found").node, "zzzzzzzz");
        assert_eq!(find(&members, "BERLIN").expect("found").node, "abcdefgh");
        assert_eq!(find(&members, "abcdefg").expect("found").name, "berlin");
    }

    #[test]
    fn an_unclear_or_short_id_is_refused() {
        let members = [member("berlin", "abcdefgh"), member("paris", "abcdefgi")];
        let failure = find(&members, "abcdefg").expect_err("two");
        assert_eq!(failure.exit, Exit::Usage);
        assert!(
            failure
                .advice
                .is_some_and(|a| a.contains("berlin") && a.contains("paris"))
        );
        assert_eq!(find(&members, "abc").expect_err("short").exit, Exit::Unreachable);
    }
}
