//! The scenarios speak the real API: whatever they answer, the real client reads.

use crate::{
    scenario::{Library, fill},
    serve::Stage,
};
use osier_control::{
    client::{Client, ClientError},
    types::{
        Diagnostics, EventLine, InviteReply, JoinLine, JoinRequest, Member, Peer, ProbeLine, ProbeRequest,
        Route, Service, ServiceState, Session, Status, Topology, TraceLine, Usage,
    },
};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::path::Path;

/// Scenarios whose answers are wrong on purpose.
const WRONG: &[&str] = &["nonsense"];

fn library() -> Library {
    Library::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios")).unwrap()
}

fn read<T: DeserializeOwned>(value: &Value, place: &str) {
    if let Err(error) = serde_json::from_value::<T>(value.clone()) {
        panic!("{place}: {error}");
    }
}

#[test]
fn every_answer_is_one_of_the_control_api() {
    let library = library();
    for name in library.names().filter(|name| !WRONG.contains(name)) {
        let scenario = library.scenario(name).unwrap();
        assert!(!scenario.description.is_empty(), "{name}");
        for (request, answer) in &scenario.answers {
            let place = format!("{name}: {request}");
            if answer.get("$status").is_some() || answer.get("$hang").is_some() {
                continue;
            }
            if let Some(next) = answer.get("$then").and_then(Value::as_str) {
                library.scenario(next).unwrap();
            }
            let body = fill(answer.get("body").unwrap_or(answer));
            match request.as_str() {
                "GET /v1/service" | "POST /v1/on" | "POST /v1/off" | "POST /v1/leave" => {
                    read::<Service>(&body, &place)
                }
                "GET /v1/status" => read::<Status>(&body, &place),
                "GET /v1/peers" => read::<Vec<Peer>>(&body, &place),
                "GET /v1/members" => read::<Vec<Member>>(&body, &place),
                "GET /v1/routes" => read::<Vec<Route>>(&body, &place),
                "GET /v1/sessions" => read::<Vec<Session>>(&body, &place),
                "GET /v1/topology" => read::<Topology>(&body, &place),
                "GET /v1/usage" => read::<Usage>(&body, &place),
                "GET /v1/diagnostics" => read::<Diagnostics>(&body, &place),
                "GET /v1/bundle" => assert!(body.is_string(), "{place}"),
                "POST /v1/probe" => lines::<ProbeLine>(&body, &place),
                "POST /v1/trace" => lines::<TraceLine>(&body, &place),
                "POST /v1/invite" => read::<InviteReply>(&body, &place),
                "POST /v1/join" | "POST /v1/network" => lines::<JoinLine>(&body, &place),
                "GET /v1/events" => lines::<EventLine>(&body, &place),
                _ => panic!("{place}: no such request"),
            }
        }
    }
}

fn lines<T: DeserializeOwned>(answer: &Value, place: &str) {
    let lines = answer["$lines"].as_array().unwrap();
    for line in lines.iter().filter(|line| line.get("$then").is_none()) {
        read::<T>(line, place);
    }
}

struct Theatre {
    stage: Stage,
    client: Client,
    _temp: tempfile::TempDir,
}

fn theatre() -> Theatre {
    let temp = tempfile::tempdir().unwrap();
    let socket = temp.path().join("control.sock");
    Theatre {
        stage: Stage::new(socket.clone(), library()),
        client: Client::at(socket),
        _temp: temp,
    }
}

#[tokio::test]
async fn scenarios_follow_each_other_and_the_service_can_die() {
    let mut theatre = theatre();
    theatre.stage.play("connected").unwrap();
    assert_eq!(theatre.client.status().await.unwrap().name, "berlin");
    theatre.stage.play("gone").unwrap();
    assert!(matches!(
        theatre.client.status().await,
        Err(ClientError::NotRunning { .. })
    ));
    theatre.stage.play("thousand").unwrap();
    assert_eq!(theatre.client.members().await.unwrap().len(), 1001);
    theatre.stage.play("nonsense").unwrap();
    assert!(matches!(
        theatre.client.service().await,
        Err(ClientError::Nonsense(_))
    ));
    assert!(theatre.stage.play("no-such-scenario").is_err());
}

#[tokio::test]
async fn joining_leads_to_a_connected_node() {
    let mut theatre = theatre();
    theatre.stage.play("not-joined").unwrap();
    assert_eq!(
        theatre.client.service().await.unwrap().state,
        ServiceState::NotJoined
    );
    let request = JoinRequest {
        invite: "osier://join/x".into(),
        name: None,
    };
    let mut lines = theatre.client.join(&request).await.unwrap();
    let cue = loop {
        tokio::select! {
            line = lines.next() => match line {
                Some(line) => { line.unwrap(); }
                None => break theatre.stage.cue().await,
            },
            cue = theatre.stage.cue() => break cue,
        }
    };
    theatre.stage.play(&cue).unwrap();
    assert_eq!(
        theatre.client.service().await.unwrap().state,
        ServiceState::Running
    );
}

#[tokio::test]
async fn a_ping_goes_on_until_another_scenario_plays() {
    let mut theatre = theatre();
    theatre.stage.play("connected").unwrap();
    let mut lines = theatre.client.probe(&ProbeRequest::new("paris")).await.unwrap();
    let mut replies = 0;
    while replies < 12 {
        match lines.next().await.unwrap().unwrap() {
            ProbeLine::Reply { sequence, .. } => assert_eq!(sequence, replies),
            ProbeLine::Lost { sequence } => assert_eq!(sequence, replies),
            ProbeLine::Started { .. } => continue,
            other @ ProbeLine::Summary { .. } => panic!("{other:?}"),
        }
        replies += 1;
    }
    theatre.stage.play("off").unwrap();
    assert!(lines.next().await.is_none());
}
