//! Clients that mean no good.

use crate::fixture::{Extra, Fixture, Http, keys, refused, until};
use osier_proto::registry_api::EnrolRequest;
use reqwest::{Method, StatusCode};
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// Sends raw octets and returns what comes back until the registry closes.
async fn raw(address: SocketAddr, octets: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(octets).await.unwrap();
    let mut answer = Vec::new();
    // A reset is a close as well.
    let _ = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer))
        .await
        .expect("still open");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn oversized_bodies_are_refused() {
    let f = Fixture::start().await;
    let request = f
        .http
        .request(Method::POST, "/v1/enrol")
        .header("content-type", "application/json");
    let refused = refused(request.body(" ".repeat(16 * 1024 + 1)).send().await.unwrap()).await;
    assert_eq!(
        (refused.status, refused.code.as_str()),
        (StatusCode::PAYLOAD_TOO_LARGE, "too-large")
    );
    // Also when the size is not announced.
    let mut octets =
        b"POST /v1/enrol HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
            .to_vec();
    for _ in 0..5 {
        octets.extend_from_slice(format!("1000\r\n{}\r\n", " ".repeat(4096)).as_bytes());
    }
    octets.extend_from_slice(b"0\r\n\r\n");
    let answer = raw(f.server.address(), &octets).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

#[tokio::test]
async fn other_media_types_paths_and_methods_are_refused() {
    let f = Fixture::start().await;
    let body = EnrolRequest::sign([0; 16], "elm", &keys(), &f.http.network.id());
    let body = serde_json::to_string(&body).unwrap();
    for kind in [
        None,
        Some("text/plain"),
        Some("application/x-www-form-urlencoded"),
        Some("application/jsonp"),
    ] {
        let request = f.http.request(Method::POST, "/v1/enrol").body(body.clone());
        let request = match kind {
            Some(kind) => request.header("content-type", kind),
            None => request,
        };
        assert_eq!(
            refused(request.send().await.unwrap()).await.status,
            StatusCode::UNSUPPORTED_MEDIA_TYPE
        );
    }
    let request = f
        .http
        .request(Method::POST, "/v1/enrol")
        .header("content-type", "Application/JSON; charset=utf-8");
    assert_eq!(
        refused(request.body(body).send().await.unwrap()).await.code,
        "token-unknown"
    );
    for (method, path, status) in [
        (Method::GET, "/", StatusCode::NOT_FOUND),
        (Method::GET, "/v1/../etc/passwd", StatusCode::NOT_FOUND),
        (Method::GET, "/v2/enrol", StatusCode::NOT_FOUND),
        (Method::GET, "/v1/enrol", StatusCode::METHOD_NOT_ALLOWED),
        (Method::DELETE, "/v1/network", StatusCode::METHOD_NOT_ALLOWED),
    ] {
        let refused = refused(f.http.request(method, path).send().await.unwrap()).await;
        assert_eq!(
            (refused.status, refused.code.as_str()),
            (status, "malformed"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn what_is_not_http_is_closed() {
    let f = Fixture::start().await;
    let address = f.server.address();
    raw(address, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").await;
    raw(address, &[0; 1000]).await;
    raw(address, b"GET /v1/network HTTP/9.9\r\n\r\n").await;
    let headers = "x: y\r\n".repeat(1000);
    let answer = raw(
        address,
        format!("GET /v1/network HTTP/1.1\r\n{headers}\r\n").as_bytes(),
    )
    .await;
    assert!(!answer.contains(" 200 "), "{answer}");
    let long = "a".repeat(100_000);
    let answer = raw(address, format!("GET /{long} HTTP/1.1\r\n\r\n").as_bytes()).await;
    assert!(!answer.contains(" 200 "), "{answer}");
    assert!(
        f.http
            .request(Method::GET, "/v1/network")
            .send()
            .await
            .unwrap()
            .status()
            .is_success()
    );
}

#[tokio::test]
async fn slow_clients_lose_their_connection() {
    let f = Fixture::start_with(Extra {
        limits: "request_time = \"1s\"",
        ..Extra::default()
    })
    .await;
    let address = f.server.address();
    let start = Instant::now();
    let cases: [&[u8]; 4] = [
        b"",
        b"POST /v1/enr",
        b"GET /v1/network HTTP/1.1\r\nhost: x\r\nx-drip: ",
        b"POST /v1/enrol HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\ncontent-type: application/json\r\n\r\n{",
    ];
    let answers: Vec<_> = cases
        .into_iter()
        .map(|octets| tokio::spawn(raw(address, octets)))
        .collect();
    for answer in answers {
        let answer = answer.await.unwrap();
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 408 "),
            "{answer}"
        );
    }
    // One that keeps dripping gains nothing by it.
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut closed = false;
    stream.write_all(b"GET / HTTP/1.1\r\nx: ").await.unwrap();
    while !closed && start.elapsed() < Duration::from_secs(15) {
        let mut octet = [0; 64];
        let read = tokio::time::timeout(Duration::from_millis(100), stream.read(&mut octet)).await;
        closed = matches!(read, Ok(Ok(0) | Err(_))) || stream.write_all(b"y").await.is_err();
    }
    assert!(closed, "still open after {:?}", start.elapsed());
}

#[tokio::test]
async fn one_address_has_so_many_connections_and_no_more() {
    let limits = "connections_per_address = 3\nrequest_time = \"30s\"";
    let f = Fixture::start_with(Extra {
        limits,
        ..Extra::default()
    })
    .await;
    let address = f.server.address();
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(TcpStream::connect(address).await.unwrap());
    }
    until("three are held", Duration::from_secs(5), async || {
        f.server.metrics().connections == 3
    })
    .await;
    let start = Instant::now();
    assert_eq!(
        raw(address, b"GET /v1/network HTTP/1.1\r\nhost: x\r\n\r\n").await,
        ""
    );
    assert!(start.elapsed() < Duration::from_secs(5));
    assert_eq!(f.server.metrics().connections_refused, 1);
    // One closes: there is room again.
    held.pop();
    let request = b"GET /v1/network HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    until("room for another", Duration::from_secs(5), async || {
        raw(address, request).await.starts_with("HTTP/1.1 200")
    })
    .await;
}

#[tokio::test]
async fn guessing_tokens_is_slowed_down_and_recovers() {
    let f = Fixture::start_with(Extra {
        limits: "failed_enrolments_per_minute = 30",
        ..Extra::default()
    })
    .await;
    let guess = async |http: &Http| {
        let request = EnrolRequest::sign([1; 16], "elm", &keys(), &http.network.id());
        http.post_enrol(&request).await.unwrap_err()
    };
    for _ in 0..30 {
        assert_eq!(guess(&f.http).await.code, "token-unknown");
    }
    let limited = guess(&f.http).await;
    assert_eq!(
        (limited.status, limited.code.as_str()),
        (StatusCode::TOO_MANY_REQUESTS, "rate-limited")
    );
    let wait = limited.retry_after.expect("retry-after");
    assert!((1..=3).contains(&wait), "{wait}");
    assert_eq!(f.server.metrics().rate_limited, 1);
    // Even a good invite waits, but only so long.
    let (invite, keys) = (f.invite(1).await, keys());
    assert_eq!(
        f.http.enrol(&invite, "elm", &keys).await.unwrap_err().code,
        "rate-limited"
    );
    until(
        "enrolment works again",
        Duration::from_secs(wait + 3),
        async || f.http.enrol(&invite, "elm", &keys).await.is_ok(),
    )
    .await;
}

#[tokio::test]
async fn many_that_enrol_together_from_one_address_are_not_limited() {
    let f = Fixture::start_with(Extra {
        limits: "failed_enrolments_per_minute = 1",
        ..Extra::default()
    })
    .await;
    let invite = f.invite(150).await;
    let attempts = (0..150).map(|n| {
        let (http, invite) = (f.http.clone(), invite.clone());
        tokio::spawn(async move { http.enrol(&invite, &format!("n{n}"), &keys()).await.map(drop) })
    });
    for attempt in attempts.collect::<Vec<_>>() {
        attempt.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn requests_of_one_address_are_limited_and_recover() {
    let f = Fixture::start_with(Extra {
        limits: "requests_per_second = 2",
        ..Extra::default()
    })
    .await;
    let ask = async || f.http.request(Method::GET, "/v1/network").send().await.unwrap();
    let mut passed = 0;
    let limited = loop {
        let response = ask().await;
        if response.status() != StatusCode::OK {
            break refused(response).await;
        }
        passed += 1;
        assert!(passed < 100, "never limited");
    };
    assert!(passed >= 20, "{passed}");
    assert_eq!(
        (limited.status, limited.retry_after),
        (StatusCode::TOO_MANY_REQUESTS, Some(1))
    );
    until("answers again", Duration::from_secs(3), async || {
        ask().await.status() == StatusCode::OK
    })
    .await;
}

#[tokio::test]
async fn behind_a_proxy_each_client_has_its_own_limit() {
    let head = "trust_proxy = true";
    let f = Fixture::start_with(Extra {
        head,
        limits: "requests_per_second = 1",
        ..Extra::default()
    })
    .await;
    let ask = async |forwarded: &str| {
        let request = f
            .http
            .request(Method::GET, "/v1/network")
            .header("x-forwarded-for", forwarded);
        request.send().await.unwrap().status()
    };
    let flood = async |client: &str| {
        for n in 0..100 {
            // What the client wrote itself comes first, and does not count.
            if ask(&format!("10.0.0.{n}, {client}")).await == StatusCode::TOO_MANY_REQUESTS {
                return true;
            }
        }
        false
    };
    assert!(flood("192.0.2.1").await);
    assert_eq!(ask("192.0.2.2").await, StatusCode::OK);
    assert_eq!(ask("2001:db8::7").await, StatusCode::OK);
    // Without a proxy the header means nothing.
    let f = Fixture::start_with(Extra {
        limits: "requests_per_second = 1",
        ..Extra::default()
    })
    .await;
    let mut limited = false;
    for n in 0..100 {
        let request = f
            .http
            .request(Method::GET, "/v1/network")
            .header("x-forwarded-for", format!("192.0.2.{n}"));
        limited |= request.send().await.unwrap().status() == StatusCode::TOO_MANY_REQUESTS;
    }
    assert!(limited);
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn the_log_tells_what_happened_and_no_secret() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    // For the whole process: other tests' events come too and do no harm.
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let f = Fixture::start().await;
    let (invite, mine) = (f.invite(1).await, keys());
    f.http.enrol(&invite, "elm", &mine).await.unwrap();
    f.http.enrol(&invite, "oak", &keys()).await.unwrap_err();
    let mut bad = EnrolRequest::sign(invite.token, "ash", &keys(), &f.http.network.id());
    bad.signature = "AAAA".into();
    f.http.post_enrol(&bad).await.unwrap_err();
    f.http.renew(&mine, f.now()).await.unwrap();
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let node = mine.node_id().to_string();
    for (event, about) in [
        ("ready", ""),
        ("enrolled", &*node),
        ("enrolment-refused", "token-used"),
        ("renewed", &*node),
    ] {
        let event = format!("event=\"{event}\"");
        assert!(
            text.lines()
                .any(|line| line.contains(&event) && line.contains(about)),
            "no {event} in:\n{text}"
        );
    }
    let key = std::fs::read_to_string(f.directory.path().join("net/issuer.key")).unwrap();
    let secrets = [
        bad.token.as_str(),
        &invite.to_string(),
        key.trim().rsplit(' ').next().unwrap(),
    ];
    for secret in secrets {
        assert!(!text.contains(secret), "a secret is in:\n{text}");
    }
}
