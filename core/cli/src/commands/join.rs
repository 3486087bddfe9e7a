//! `osier join` and `osier leave`.

use crate::{
    control::{Control, not_joined},
    exit::{Exit, Failure, Outcome},
    format,
    output::{BOLD, GOOD, Output, fields, paint},
    paths::{ControlArgs, hand_over},
    progress::Progress,
};
use osier_core::{
    control::{
        client::{Client, ClientError, Lines},
        types::{JoinLine, JoinRequest},
    },
    join::{JoinError, JoinOptions, Joined, LeaveError},
    state::StateError,
};
use osier_proto::invite::{Invite, MAX_INVITE};
use serde::Serialize;
use std::{
    io::{BufRead, IsTerminal, Read},
    net::Ipv6Addr,
    path::Path,
    time::{Duration, Instant},
};

#[derive(clap::Args)]
pub(crate) struct JoinArgs {
    /// The invite that `osier invite` printed; `-` reads it from standard input, `@FILE` from a file
    ///
    /// Other users of this machine can see the command lines of its programs, and an invite is a secret until it
    /// is used: prefer `-` or `@FILE` where others work too.
    #[arg(value_name = "INVITE|-|@FILE")]
    invite: String,
    /// This node's name in the network, 1 to 63 letters, digits and hyphens [default: the host name]
    #[arg(long, short)]
    name: Option<String>,
    #[command(flatten)]
    node: ControlArgs,
}

impl std::fmt::Debug for JoinArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JoinArgs")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// The JSON result.
#[derive(Serialize)]
pub(crate) struct JoinedView {
    name: String,
    address: Ipv6Addr,
    prefixes: Vec<ipnet::IpNet>,
    network: String,
    network_prefix: ipnet::IpNet,
    not_after: u64,
    already_member: bool,
}

pub(crate) async fn join(args: &JoinArgs, output: &Output) -> Outcome {
    let invite: Invite = read_invite(&args.invite)?
        .trim()
        .parse()
        .map_err(|e: osier_proto::invite::ParseInviteError| Failure::plain(Exit::Usage, e.to_string()))?;
    let progress = Progress::start(output, format!("asking {}", invite.registries.join(", ")));
    if let Some((control, _)) = Control::service(&args.node).await? {
        let request = JoinRequest {
            invite: invite.to_string(),
            name: args.name.clone(),
        };
        let joined = follow(control.client.join(&request).await).await?;
        drop(progress);
        return show_served(joined, output);
    }
    let state_dir = args.node.state.dir()?;
    let options = JoinOptions {
        state_dir: state_dir.clone(),
        name: args.name.clone(),
    };
    let joined = osier_core::join::join(&invite, &options)
        .await
        .map_err(|e| explain_join(e, &state_dir))?;
    drop(progress);
    hand_over(&state_dir);
    let next = "`osier up` starts the node; `osier service install` starts it with the system";
    show(view(joined), next, output)
}

fn show(joined: JoinedView, next: &str, output: &Output) -> Outcome {
    output.show(&joined, |j| {
        let head = match j.already_member {
            true => format!("{} is a member of {} already\n", j.name, j.network),
            false => format!(
                "{} joined {} as {}\n",
                paint(GOOD, "●"),
                paint(BOLD, &j.network),
                paint(BOLD, &j.name)
            ),
        };
        let expiry = format!("expires {}", format::utc(j.not_after));
        head + &fields(&[("address", j.address.to_string()), ("certificate", expiry)])
            + &format!("next: {next}\n")
    })
}

/// What a service's join has come to.
pub(crate) fn show_served(joined: JoinedView, output: &Output) -> Outcome {
    let next = "the service runs the node: `osier status` tells how it is doing";
    show(joined, next, output)
}

/// Waits until a service has joined.
pub(crate) async fn follow(lines: Result<Lines<JoinLine>, ClientError>) -> Outcome<JoinedView> {
    let broken = |e: ClientError| match e {
        ClientError::Refused {
            code, message, fix, ..
        } => refused_join(&code, message, fix),
        other => Failure::plain(Exit::Failure, other.to_string()),
    };
    let mut lines = lines.map_err(broken)?;
    let mut joined = None;
    while let Some(line) = lines.next().await.transpose().map_err(broken)? {
        match line {
            JoinLine::Joined {
                member,
                already_member,
            } => joined = Some((member, already_member)),
            JoinLine::Failed { code, message, fix } => return Err(refused_join(&code, message, fix)),
            JoinLine::Asking { .. } | JoinLine::Done { .. } | JoinLine::Unknown => {}
        }
    }
    let (member, already_member) =
        joined.ok_or_else(|| Failure::plain(Exit::Failure, "the service ended before the join did"))?;
    Ok(JoinedView {
        name: member.name,
        address: member.address,
        prefixes: member.prefixes,
        network: member.network.name,
        network_prefix: member.network.prefix,
        not_after: member.certificate.not_after,
        already_member,
    })
}

fn refused_join(code: &str, message: String, advice: Option<String>) -> Failure {
    let exit = match code {
        "invite-invalid" | "name-invalid" | "network-name-invalid" => Exit::Usage,
        "invite-used" | "invite-expired" | "invite-unknown" | "refused" => Exit::Refused,
        "name-taken" | "wrong-network" | "network-exists" | "busy" => Exit::Conflict,
        "registry-unreachable" => Exit::Unreachable,
        "stopping" => Exit::NotRunning,
        _ => Exit::Failure,
    };
    Failure {
        exit,
        message,
        advice,
    }
}

fn view(j: Joined) -> JoinedView {
    JoinedView {
        name: j.name,
        address: j.address,
        prefixes: j.prefixes,
        network: j.network,
        network_prefix: j.network_prefix,
        not_after: j.not_after,
        already_member: j.already_member,
    }
}

/// The invite's text from where the argument says.
fn read_invite(argument: &str) -> Outcome<String> {
    let mut text = String::new();
    let bounded = |source: &mut dyn Read, text: &mut String| -> std::io::Result<usize> {
        // Twice the longest invite: room for line ends, yet an endless source ends.
        source.take(2 * MAX_INVITE as u64).read_to_string(text)
    };
    match argument.strip_prefix('@') {
        None if argument == "-" => {
            let stdin = std::io::stdin();
            if stdin.is_terminal() {
                crate::output::say("paste the invite, then press Enter:\n");
                stdin
                    .lock()
                    .read_line(&mut text)
                    .map_err(|e| Failure::io("cannot read the invite", &e))?;
            } else {
                bounded(&mut stdin.lock(), &mut text)
                    .map_err(|e| Failure::io("cannot read the invite", &e))?;
            }
        }
        None => text.push_str(argument),
        Some(path) => {
            let problem = |e: std::io::Error| match e.kind() {
                std::io::ErrorKind::NotFound => Failure::new(
                    Exit::Usage,
                    format!("there is no file `{path}`"),
                    "`@FILE` names a file that holds the invite",
                ),
                _ => Failure::io(format!("cannot read `{path}`"), &e),
            };
            let mut file = std::fs::File::open(path).map_err(problem)?;
            bounded(&mut file, &mut text).map_err(problem)?;
        }
    }
    Ok(text)
}

fn explain_join(error: JoinError, state_dir: &Path) -> Failure {
    let message = error.to_string();
    match error {
        JoinError::OtherNetwork { .. } => Failure::plain(Exit::Conflict, message),
        JoinError::BadName(_) => Failure::new(Exit::Usage, message, "choose one with --name"),
        JoinError::Unreachable(_) => Failure::plain(Exit::Unreachable, message),
        JoinError::Refused { code, .. } => match code.as_str() {
            "name-taken" => Failure::new(Exit::Conflict, message, "choose another name with --name"),
            "token-used" | "token-expired" | "token-unknown" => Failure::new(
                Exit::Refused,
                message,
                "ask for a new invite: `osier invite` makes one",
            ),
            "rate-limited" => Failure::new(Exit::Refused, message, "wait a minute and try again"),
            "internal" => Failure::new(
                Exit::Failure,
                message,
                "look at the registry's log, then try again",
            ),
            _ => Failure::plain(Exit::Refused, message),
        },
        JoinError::State(error) => explain_state(&error, state_dir),
        // The second happens to embedders alone.
        JoinError::Invalid(_) | JoinError::NotProtected(_) => Failure::plain(Exit::Failure, message),
    }
}

pub(crate) fn explain_state(error: &StateError, state_dir: &Path) -> Failure {
    let message = error.to_string();
    match error {
        StateError::Locked { .. } => Failure::plain(Exit::Conflict, message),
        StateError::Empty(_) => not_joined(state_dir),
        StateError::Read { source, .. } | StateError::Write { source, .. } => Failure {
            message,
            ..Failure::io("", source)
        },
        _ => Failure::plain(Exit::Failure, message),
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct LeaveArgs {
    /// Do not ask whether it is meant
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    node: ControlArgs,
}

/// How long a daemon may take from its answer to its end.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);

#[derive(Serialize)]
struct LeftView {
    name: String,
    network: String,
}

/// Stops the node and forgets the network; its keys are gone afterwards.
pub(crate) async fn leave(args: &LeaveArgs, output: &Output) -> Outcome {
    let state_dir = args.node.state.dir()?;
    let service = Control::service(&args.node).await?;
    if !crate::paths::is_member(&state_dir) && service.is_none() {
        return Err(not_joined(&state_dir));
    }
    if !args.yes && !confirmed(&state_dir)? {
        return Err(Failure::plain(Exit::Failure, "nothing was changed"));
    }
    let progress = Progress::start(output, "stopping the node");
    if let Some((control, service)) = service {
        control.client.leave().await.map_err(|e| match e {
            ClientError::Refused { code, .. } if code == "not-joined" => not_joined(&state_dir),
            other => control.explain(other),
        })?;
        drop(progress);
        let (name, network) = service
            .member
            .map_or_else(Default::default, |member| (member.name, member.network.name));
        return show_left(&LeftView { name, network }, output);
    }
    let stopped = match Client::in_state_dir(&state_dir).down().await {
        Ok(_) => true,
        Err(ClientError::NotRunning { .. }) => false,
        // What it means shows when its lock is found taken.
        Err(error) => {
            output.note(format!("the daemon could not be stopped: {error}"));
            false
        }
    };
    let deadline = Instant::now() + if stopped { LOCK_PATIENCE } else { Duration::ZERO };
    let left = loop {
        match osier_core::join::leave(&state_dir).await {
            // The daemon has answered, but its process has not ended yet.
            Err(LeaveError::State(StateError::Locked { .. })) if Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(LeaveError::NotAMember(_)) => return Err(not_joined(&state_dir)),
            Err(LeaveError::State(error)) => return Err(explain_state(&error, &state_dir)),
            Ok(left) => break left,
        }
    };
    drop(progress);
    let left = LeftView {
        name: left.name,
        network: left.network,
    };
    show_left(&left, output)
}

fn show_left(left: &LeftView, output: &Output) -> Outcome {
    output.show(left, |l| {
        format!(
            "{} left {}; `osier revoke {}` at the registry ends its certificate too\n",
            l.name, l.network, l.name
        )
    })
}

/// Asks, when there is somebody to ask.
fn confirmed(state_dir: &Path) -> Outcome<bool> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() || !crate::output::watched() {
        return Ok(true);
    }
    crate::output::say(&format!(
        "This removes the node's keys from {}; coming back takes a new invite. Leave? [y/N] ",
        state_dir.display()
    ));
    let mut answer = String::new();
    stdin
        .lock()
        .read_line(&mut answer)
        .map_err(|e| Failure::io("cannot read the answer", &e))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_invite_is_not_in_the_debug_output() {
        #[derive(clap::Parser, Debug)]
        struct Wrapper {
            #[command(flatten)]
            join: JoinArgs,
        }
        let parsed = <Wrapper as clap::Parser>::parse_from(["x", "osier://join/SECRET", "--name", "rome"]);
        let shown = format!("{parsed:?}");
        assert!(shown.contains("rome") && !shown.contains("SECRET"), "{shown}");
    }

    #[test]
    fn every_refusal_has_its_code() {
        let refused = |code: &str| JoinError::Refused {
            code: code.into(),
            message: "no".into(),
        };
        let cases = [
            (refused("token-used"), Exit::Refused),
            (refused("token-expired"), Exit::Refused),
            (refused("token-unknown"), Exit::Refused),
            (refused("name-taken"), Exit::Conflict),
            (refused("internal"), Exit::Failure),
            (JoinError::Unreachable("x".into()), Exit::Unreachable),
            (JoinError::BadName("x".into()), Exit::Usage),
        ];
        for (error, exit) in cases {
            assert_eq!(explain_join(error, Path::new("/x")).exit, exit);
        }
    }

    #[test]
    fn a_missing_invite_file_is_a_usage_error() {
        assert_eq!(
            read_invite("@/nonexistent/invite").expect_err("missing").exit,
            Exit::Usage
        );
    }

    #[test]
    fn an_endless_invite_file_ends() {
        // /dev/zero holds valid UTF-8 without end.
        assert_eq!(read_invite("@/dev/zero").expect("bounded").len(), 2 * MAX_INVITE);
    }
}
