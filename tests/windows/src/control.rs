//! See `core/node/src/control`.

#[path = "../../../core/node/src/control/error.rs"]
mod error;
#[path = "../../../core/node/src/control/listener/mod.rs"]
mod listener;

pub use error::ServerError;
pub use osier_control::pipe_name;

#[cfg(test)]
mod tests {
    use super::{listener::Listener, pipe_name};
    use crate::system::Group;
    use axum::{Router, routing::get};
    use http_body_util::{BodyExt, Empty};
    use hyper::{Request, body::Bytes};
    use hyper_util::rt::TokioIo;
    use osier_control::connect;
    use std::path::{Path, PathBuf};

    /// A long answer, which takes more than the pipe's buffer.
    const LONG: usize = 300_000;

    /// HTTP on a pipe of its own, as the daemon serves it.
    fn serve(test: &str, group: Option<&Group>) -> PathBuf {
        let place = PathBuf::from(pipe_name(Path::new(&format!("{test}-{}", std::process::id()))));
        let router = Router::new()
            .route("/short", get(|| async { "short" }))
            .route("/long", get(|| async { "x".repeat(LONG) }));
        let listener = Listener::bind(&place, group).unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        place
    }

    /// One request on a connection of its own, as `osier` makes them.
    async fn fetch(place: &Path, path: &str) -> Bytes {
        let pipe = connect(place).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(pipe))
            .await
            .unwrap();
        tokio::spawn(connection);
        let request = Request::get(path)
            .header("host", "osier")
            .body(Empty::<Bytes>::new())
            .unwrap();
        let response = sender.send_request(request).await.unwrap();
        assert!(response.status().is_success());
        response.into_body().collect().await.unwrap().to_bytes()
    }

    #[tokio::test]
    async fn http_goes_through_the_pipe_client_after_client() {
        let place = serve("http", None);
        for _ in 0..5 {
            assert_eq!(fetch(&place, "/short").await, "short");
        }
        assert_eq!(fetch(&place, "/long").await.len(), LONG);
    }

    #[tokio::test]
    async fn many_clients_are_served_at_once() {
        let place = serve("many", None);
        let clients: Vec<_> = (0..8)
            .map(|_| {
                let place = place.clone();
                tokio::spawn(async move { fetch(&place, "/long").await.len() })
            })
            .collect();
        for client in clients {
            assert_eq!(client.await.unwrap(), LONG);
        }
    }

    #[tokio::test]
    async fn pipe_can_be_opened_to_a_group() {
        // The built-in group of all users.
        let users = Group::find("S-1-5-32-545").unwrap();
        assert!(users.is_some());
        let place = serve("group", users.as_ref());
        assert_eq!(fetch(&place, "/short").await, "short");
    }
}
