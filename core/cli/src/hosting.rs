//! The registry of a network that the service has made: in the folder `registry` of its state directory, where
//! `osier invite --dir` and `osier nodes --dir` find it too.

use osier_core::service::hosting::{Answer, Host, HostError, InviteOrder};
use osier_registry::{
    CreateOptions, DirectoryError, Error, InviteOptions, NetworkDir, Registry, ServeOptions, Server, unix_now,
};
use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    pin::Pin,
};

/// Below the state directory.
const FOLDER: &str = "registry";

/// The one network that this machine may have made.
#[derive(Debug)]
pub(crate) struct OwnNetwork {
    path: PathBuf,
    name: Option<String>,
    running: Option<Running>,
}

struct Running {
    registry: Registry,
    server: Server,
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Running").field(&self.server.address()).finish()
    }
}

impl OwnNetwork {
    pub(crate) fn in_state_dir(state_dir: &Path) -> Self {
        let path = state_dir.join(FOLDER);
        // What keeps one that exists from being read is told when it is to run.
        let name = match NetworkDir::open(&path) {
            Ok(dir) => Some(dir.network().name.clone()),
            Err(_) if path.exists() => Some(FOLDER.into()),
            Err(_) => None,
        };
        Self {
            path,
            name,
            running: None,
        }
    }

    async fn run(&mut self) -> Result<&Running, HostError> {
        let running = match self.running.take() {
            Some(running) => running,
            None => {
                let registry = Registry::open(&self.path).await.map_err(|e| explain(&e))?;
                let server = registry
                    .serve(ServeOptions::default())
                    .await
                    .map_err(|e| explain(&e))?;
                Running { registry, server }
            }
        };
        Ok(self.running.insert(running))
    }

    async fn new_invite(&mut self, order: InviteOrder) -> Result<osier_proto::invite::Invite, HostError> {
        let Running { registry, server } = self.run().await?;
        let set = &registry.dir().settings().public_urls;
        let urls: Vec<String> = match set.is_empty() || order.addresses.iter().all(IpAddr::is_loopback) {
            true => order
                .addresses
                .iter()
                .map(|address| url(*address, server.address().port(), server.tls()))
                .collect(),
            false => set.clone(),
        };
        if urls.is_empty() {
            return Err(HostError {
                code: "no-address",
                message: "an invite must say where this machine is found, and that is not known".into(),
                fix: "switch the mesh on (`osier on`), or set `public_urls` in registry.toml".into(),
            });
        }
        let options = InviteOptions {
            uses: order.uses,
            expires_in: order.lifetime,
            urls,
        };
        registry.create_invite(options).await.map_err(|e| explain(&e))
    }
}

impl Host for OwnNetwork {
    fn network(&self) -> Option<String> {
        self.name.clone()
    }

    fn serves(&self) -> bool {
        self.running.is_some()
    }

    fn create<'a>(&'a mut self, name: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            let made = NetworkDir::create(&self.path, CreateOptions::new(name), unix_now())
                .and_then(|dir| dir.create_self_signed(&["localhost".to_owned()]));
            match made {
                Ok(_) => {
                    self.name = Some(name.to_owned());
                    Ok(())
                }
                Err(error) => {
                    if !matches!(error, DirectoryError::Exists(_)) {
                        // Nobody has joined what was not made.
                        let _ = std::fs::remove_dir_all(&self.path);
                    }
                    Err(explain(&Error::Directory(error)))
                }
            }
        })
    }

    fn serve(&mut self) -> Answer<'_, ()> {
        Box::pin(async move { self.run().await.map(drop) })
    }

    fn invite(&mut self, order: InviteOrder) -> Answer<'_, osier_proto::invite::Invite> {
        Box::pin(self.new_invite(order))
    }

    fn stop(&mut self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async move {
            if let Some(running) = self.running.take() {
                running.server.stop().await;
            }
        })
    }
}

fn url(address: IpAddr, port: u16, tls: bool) -> String {
    let scheme = if tls { "https" } else { "http" };
    format!("{scheme}://{}", std::net::SocketAddr::new(address, port))
}

fn explain(error: &Error) -> HostError {
    HostError {
        code: "registry-failed",
        message: format!("the registry does not run: {error}"),
        fix: "`osier registry serve --dir` with the folder `registry` of the state directory shows more"
            .into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn order(addresses: &[&str]) -> InviteOrder {
        InviteOrder {
            uses: 1,
            lifetime: Duration::from_secs(60),
            addresses: addresses.iter().map(|a| a.parse().expect("an address")).collect(),
        }
    }

    #[tokio::test]
    async fn network_is_made_once_and_found_again() {
        let temp = tempfile::tempdir().expect("a directory");
        let mut own = OwnNetwork::in_state_dir(temp.path());
        assert_eq!((own.network(), own.serves()), (None, false));
        own.create("Grünfeld").await.expect("made");
        assert!(own.create("other").await.is_err());
        let again = OwnNetwork::in_state_dir(temp.path());
        assert_eq!(again.network().as_deref(), Some("Grünfeld"));
    }

    #[tokio::test]
    async fn invites_say_where_we_are_unless_the_operator_says_otherwise() {
        let temp = tempfile::tempdir().expect("a directory");
        let mut own = OwnNetwork::in_state_dir(temp.path());
        own.create("home").await.expect("made");
        let settings = temp.path().join(FOLDER).join("registry.toml");
        let text = std::fs::read_to_string(&settings).expect("settings");
        let text = text.replace("[::]:6690", "127.0.0.1:0");
        std::fs::write(&settings, &text).expect("written");
        let invite = own
            .invite(order(&["192.0.2.7", "2001:db8::7"]))
            .await
            .expect("an invite");
        let port = own.running.as_ref().expect("it runs").server.address().port();
        assert_eq!(
            invite.registries,
            [
                format!("https://192.0.2.7:{port}"),
                format!("https://[2001:db8::7]:{port}")
            ]
        );
        let error = own.invite(order(&[])).await.expect_err("nowhere");
        assert_eq!(error.code, "no-address");
        own.stop().await;
        assert!(!own.serves());

        let text = text.replace(
            "public_urls = []",
            "public_urls = [\"https://home.example:6690\"]",
        );
        std::fs::write(&settings, text).expect("written");
        let invite = own.invite(order(&["192.0.2.7"])).await.expect("an invite");
        assert_eq!(invite.registries, ["https://home.example:6690"]);
        own.stop().await;
    }
}
