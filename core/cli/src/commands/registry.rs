//! `osier registry serve`: the registry itself, in the foreground.

use super::operator::{explain, explain_directory};
use crate::{
    exit::{Exit, Failure, Outcome},
    output::{BOLD, GOOD, Output, paint},
    paths::RegistryDirArgs,
};
use osier_core::system::Stop;
use osier_registry::{NetworkDir, Registry, ServeOptions, Server};
use serde::Serialize;
use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
};
use toml_edit::{Array, DocumentMut, Table, value};

#[derive(Debug, clap::Args)]
pub(crate) struct RegistryArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Run the registry in the foreground until SIGTERM
    Serve(ServeArgs),
}

#[derive(Debug, clap::Args)]
struct ServeArgs {
    #[command(flatten)]
    dir: RegistryDirArgs,
    /// Address and port to listen on; port 0 takes a free one [default: as in registry.toml]
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<SocketAddr>,
    /// Where nodes reach this registry, for invites; repeatable; kept in registry.toml
    #[arg(long = "url", value_name = "URL")]
    urls: Vec<String>,
    /// PEM file with the TLS certificate and its chain; kept in registry.toml
    #[arg(
        long,
        value_name = "FILE",
        requires = "tls_key",
        conflicts_with = "self_signed"
    )]
    tls_cert: Option<PathBuf>,
    /// PEM file with the certificate's private key, readable by its owner only; kept in registry.toml
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Make a TLS certificate if there is none, and pin it in invites
    #[arg(long)]
    self_signed: bool,
    /// error, warn, info, debug or trace, or MODULE=LEVEL,… [default: info]
    #[arg(long, value_name = "LEVEL", env = "OSIER_LOG")]
    log_level: Option<String>,
}

/// The one line on standard output: the registry accepts connections.
#[derive(Serialize)]
struct Ready {
    event: &'static str,
    address: SocketAddr,
    tls: bool,
    network: String,
    urls: Vec<String>,
}

impl RegistryArgs {
    pub(crate) async fn run(&self, output: &Output) -> Outcome {
        match &self.action {
            Action::Serve(args) => serve(args, output).await,
        }
    }
}

async fn serve(args: &ServeArgs, output: &Output) -> Outcome {
    let path = args.dir.dir()?;
    super::start_log(args.log_level.as_deref(), output)?;
    prepare(args, &path)?;
    // Before the start, so that no signal is missed.
    let mut stop = Stop::watch().map_err(|e| Failure::io("cannot listen for signals", &e))?;
    let registry = Registry::open(&path).await.map_err(|e| explain(&e))?;
    let server = registry
        .serve(ServeOptions { listen: args.listen })
        .await
        .map_err(|e| explain(&e))?;
    output.stream(&ready(&registry, &server), |r| {
        let scheme = if r.tls { "https" } else { "http" };
        format!(
            "{} registry of {} is ready on {scheme}://{}\n",
            paint(GOOD, "●"),
            paint(BOLD, &r.network),
            r.address
        )
    })?;
    stop.requested().await;
    server.stop().await;
    Ok(())
}

fn ready(registry: &Registry, server: &Server) -> Ready {
    Ready {
        event: "ready",
        address: server.address(),
        tls: server.tls(),
        network: registry.dir().network().name.clone(),
        urls: registry.dir().settings().public_urls.clone(),
    }
}

/// Puts into `registry.toml` what invites must know, so that `osier invite` knows it too.
fn prepare(args: &ServeArgs, path: &Path) -> Outcome {
    let dir = NetworkDir::open(path).map_err(|e| explain_directory(&e))?;
    if args.self_signed && !path.join("self-signed.crt").exists() {
        let mut names = vec!["localhost".to_owned()];
        names.extend(
            args.urls
                .iter()
                .chain(&dir.settings().public_urls)
                .filter_map(|url| host(url)),
        );
        names.sort();
        names.dedup();
        dir.create_self_signed(&names)
            .map_err(|e| explain_directory(&e))?;
    }
    if args.urls.is_empty() && args.tls_cert.is_none() {
        return Ok(());
    }
    if let Some(url) = args
        .urls
        .iter()
        .find(|url| !osier_proto::invite::valid_registry_url(url))
    {
        return Err(Failure::plain(
            Exit::Usage,
            format!("`{url}` is not an http:// or https:// URL"),
        ));
    }
    let file = path.join("registry.toml");
    let problem = |e: io::Error| Failure::io(format!("cannot change {}", file.display()), &e);
    let old = fs::read_to_string(&file).map_err(problem)?;
    let new = edit(&old, args)?;
    if new != old {
        // Beside it and then over it, so that a crash leaves one or the other; with its rights, as it may hold a
        // database password.
        let temporary = path.join("registry.toml.new");
        fs::write(&temporary, "").map_err(problem)?;
        fs::set_permissions(&temporary, fs::metadata(&file).map_err(problem)?.permissions())
            .map_err(problem)?;
        fs::write(&temporary, new)
            .and_then(|()| fs::rename(&temporary, &file))
            .map_err(problem)?;
    }
    Ok(())
}

fn edit(old: &str, args: &ServeArgs) -> Outcome<String> {
    // It has been parsed as settings before.
    let mut document: DocumentMut = old
        .parse()
        .map_err(|e: toml_edit::TomlError| Failure::plain(Exit::Failure, format!("registry.toml: {e}")))?;
    if !args.urls.is_empty() {
        document["public_urls"] = value(args.urls.iter().collect::<Array>());
    }
    if let (Some(certificate), Some(key)) = (&args.tls_cert, &args.tls_key) {
        let absolute = |path: &Path| {
            let path = fs::canonicalize(path)
                .map_err(|e| Failure::io(format!("cannot read {}", path.display()), &e))?;
            path.to_str().map(str::to_owned).ok_or_else(|| {
                Failure::plain(Exit::Usage, format!("the path {} is not UTF-8", path.display()))
            })
        };
        let tls = document.entry("tls").or_insert(Table::new().into());
        tls["certificate"] = value(absolute(certificate)?);
        tls["key"] = value(absolute(key)?);
    }
    Ok(document.to_string())
}

/// The host of a URL, without port and brackets.
fn host(url: &str) -> Option<String> {
    let rest = url.split_once("://")?.1.split('/').next()?;
    let host = match rest.strip_prefix('[') {
        Some(v6) => v6.split(']').next()?,
        None => rest.rsplit_once(':').map_or(rest, |(host, _)| host),
    };
    (!host.is_empty()).then(|| host.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Wrapper {
        #[command(flatten)]
        serve: ServeArgs,
    }

    #[test]
    fn settings_keep_their_comments_and_other_values() {
        let args =
            Wrapper::parse_from(["x", "--url", "https://a.example", "--url", "https://b.example:1"]).serve;
        let old = "# where\npublic_urls = []\n\n# what\ndatabase = \"sqlite:registry.db\"\n";
        let new = edit(old, &args).expect("edited");
        assert_eq!(
            new,
            "# where\npublic_urls = [\"https://a.example\", \"https://b.example:1\"]\n\n# what\ndatabase = \"sqlite:registry.db\"\n"
        );
    }

    #[test]
    fn tls_files_are_remembered_by_their_full_path() {
        let dir = tempfile::tempdir().expect("a directory");
        let (certificate, key) = (dir.path().join("c.pem"), dir.path().join("k.pem"));
        fs::write(&certificate, "").expect("written");
        fs::write(&key, "").expect("written");
        let args = Wrapper::parse_from([
            "x".as_ref(),
            "--tls-cert".as_ref(),
            certificate.as_os_str(),
            "--tls-key".as_ref(),
            key.as_os_str(),
        ])
        .serve;
        let new = edit("listen = \"[::]:1\"\n", &args).expect("edited");
        assert!(
            new.starts_with("listen = \"[::]:1\"\n") && new.contains("[tls]\ncertificate = \"/"),
            "{new}"
        );
    }

    #[test]
    fn hosts_are_found_in_urls() {
        let cases = [
            ("https://a.example", Some("a.example")),
            ("https://a.example:6690/x", Some("a.example")),
            ("http://[2001:db8::1]:80", Some("2001:db8::1")),
            ("http://", None),
        ];
        for (url, expected) in cases {
            assert_eq!(host(url).as_deref(), expected, "{url}");
        }
    }
}
