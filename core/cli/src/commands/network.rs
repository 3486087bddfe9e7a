//! `osier network`: the network itself, its keys and its description.

use super::{join, operator::explain_directory};
use crate::{
    control::Control,
    exit::{Exit, Failure, Outcome},
    format,
    output::{BOLD, GOOD, Output, WARN, fields, paint},
    paths::{ControlArgs, RegistryDirArgs, hand_over, registry_dir},
    progress::Progress,
};
use ipnet::IpNet;
use osier_core::control::types::NetworkRequest;
use osier_proto::{network::Network, wallclock::UnixTime};
use osier_registry::{CreateOptions, NetworkDir, unix_now};
use serde::Serialize;
use std::{net::SocketAddr, path::PathBuf, time::Duration};

#[derive(Debug, clap::Args)]
pub(crate) struct NetworkArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Create a network: its keys, its prefix and its registry's directory
    Create(CreateArgs),
    /// Have this machine's service create a network, run its registry, and join it
    Host(HostArgs),
    /// Show a network's description
    Show(ShowArgs),
    /// Renew the registry's right to sign, with the root key that is kept elsewhere
    RenewIssuer(RenewArgs),
}

#[derive(Debug, clap::Args)]
struct CreateArgs {
    /// Directory to make [default: /var/lib/osier-registry as root, else osier-registry in the user's XDG state
    /// directory]
    #[arg(env = "OSIER_REGISTRY_DIR", hide_env_values = true)]
    dir: Option<PathBuf>,
    /// The network's name, for people
    #[arg(long, short)]
    name: String,
    /// IPv6 prefix of 8 to 60 bits [default: a random ULA /48]
    #[arg(long)]
    prefix: Option<IpNet>,
    /// sqlite:FILE, or postgres://USER@HOST/DATABASE to share it between registries [default: a file in DIR]
    #[arg(long, value_name = "URL")]
    database: Option<String>,
    /// Where nodes will reach the registry, for invites; repeatable; can be set later in registry.toml
    #[arg(long = "url", value_name = "URL")]
    urls: Vec<String>,
    /// Address and port that the registry will listen on [default: every address, port 6690]
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<SocketAddr>,
    /// Life of a certificate, 10 minutes to a year; nodes renew at half of it [default: 14d]
    #[arg(long, value_name = "TIME", value_parser = format::parse_duration)]
    certificate_lifetime: Option<Duration>,
    /// How long members go on with expired certificates when no registry can be reached [default: 90d]
    #[arg(long, value_name = "TIME", value_parser = format::parse_duration)]
    grace: Option<Duration>,
}

#[derive(Debug, clap::Args)]
struct HostArgs {
    /// The network's name, for people
    #[arg(long, short)]
    name: String,
    /// This node's name in it, 1 to 63 letters, digits and hyphens [default: the host name]
    #[arg(long)]
    node_name: Option<String>,
    #[command(flatten)]
    node: ControlArgs,
}

#[derive(Debug, clap::Args)]
struct ShowArgs {
    #[command(flatten)]
    dir: RegistryDirArgs,
}

#[derive(Debug, clap::Args)]
struct RenewArgs {
    /// File with the root key (root.key of the directory that `network create` made)
    #[arg(long, value_name = "FILE")]
    root_key: PathBuf,
    #[command(flatten)]
    dir: RegistryDirArgs,
}

/// What `create` and `show` print.
#[derive(Serialize)]
struct NetworkView {
    directory: PathBuf,
    name: String,
    id: String,
    prefix: IpNet,
    /// The root's public key.
    root: String,
    /// Whether the secret root key is in the directory.
    root_key_present: bool,
    grace_seconds: u64,
    certificate_lifetime_seconds: u64,
    issuer_until: UnixTime,
    listen: SocketAddr,
    urls: Vec<String>,
    tls: bool,
}

impl NetworkView {
    fn new(dir: &NetworkDir) -> Self {
        let network: &Network = dir.network();
        let settings = dir.settings();
        Self {
            directory: dir.path().to_owned(),
            name: network.name.clone(),
            id: network.id().to_string(),
            prefix: network.prefix,
            root: network.root.to_string(),
            root_key_present: dir.has_root_key(),
            grace_seconds: network.grace,
            certificate_lifetime_seconds: settings.certificate_lifetime.as_secs(),
            issuer_until: dir.delegation().not_after,
            listen: settings.listen,
            urls: settings.public_urls.clone(),
            tls: settings.tls.is_some(),
        }
    }

    fn render(&self, now: u64) -> String {
        let until = self.issuer_until.0;
        let issuer = format!(
            "may sign until {} ({})",
            format::utc(until),
            format::relative(until, now)
        );
        let root = match self.root_key_present {
            true => "in this directory",
            false => "kept elsewhere",
        };
        let urls = match self.urls.is_empty() {
            true => paint(
                WARN,
                "none yet: set public_urls in registry.toml, or give --url to `osier invite`",
            ),
            false => self.urls.join(", "),
        };
        fields(&[
            ("network", paint(BOLD, &self.name)),
            ("prefix", self.prefix.to_string()),
            ("id", self.id.clone()),
            ("root", format!("{} (secret key {root})", self.root)),
            ("registry", if until < now { paint(WARN, issuer) } else { issuer }),
            (
                "certificates",
                format!(
                    "last {}, and {} more without a registry",
                    format::span(self.certificate_lifetime_seconds),
                    format::span(self.grace_seconds)
                ),
            ),
            (
                "listens",
                format!("{}{}", self.listen, if self.tls { " (TLS)" } else { "" }),
            ),
            ("reached at", urls),
            ("directory", self.directory.display().to_string()),
        ])
    }
}

pub(crate) async fn network(args: &NetworkArgs, output: &Output) -> Outcome {
    match &args.action {
        Action::Create(args) => create(args, output),
        Action::Host(args) => host(args, output).await,
        Action::Show(args) => {
            let dir = NetworkDir::open(&args.dir.dir()?).map_err(|e| explain_directory(&e))?;
            output.show(&NetworkView::new(&dir), |v| v.render(format::now()))
        }
        Action::RenewIssuer(args) => renew(args, output),
    }
}

fn create(args: &CreateArgs, output: &Output) -> Outcome {
    let path = registry_dir(args.dir.as_deref())?;
    let mut options = CreateOptions::new(&args.name);
    options.prefix = args.prefix;
    options.database.clone_from(&args.database);
    options.listen = args.listen;
    options.public_urls.clone_from(&args.urls);
    if let Some(lifetime) = args.certificate_lifetime {
        options.certificate_lifetime = lifetime;
    }
    if let Some(grace) = args.grace {
        options.grace = grace;
    }
    let dir = NetworkDir::create(&path, options, unix_now()).map_err(|e| explain_directory(&e))?;
    hand_over(&path);
    output.show(&NetworkView::new(&dir), |v| {
        format!(
            "{} network {} made\n{}",
            paint(GOOD, "●"),
            paint(BOLD, &v.name),
            v.render(format::now())
        )
    })?;
    output.note(
        "Keep a copy of root.key away from this machine: whoever has it owns the network.\n\
         next: `osier registry serve`, then `osier invite` for each node",
    );
    Ok(())
}

async fn host(args: &HostArgs, output: &Output) -> Outcome {
    let progress = Progress::start(output, "making the network");
    let Some((control, _)) = Control::service(&args.node).await? else {
        return Err(Failure::new(
            Exit::NotRunning,
            "no service runs on this machine",
            "start one with `osier up --service`; or `osier network create` and `osier registry serve`",
        ));
    };
    let request = NetworkRequest {
        network: args.name.clone(),
        name: args.node_name.clone(),
    };
    let joined = join::follow(control.client.create_network(&request).await).await?;
    drop(progress);
    join::show_served(joined, output)?;
    output.note(
        "`osier invite --hosted` makes an invite for each device. Keep a copy of registry/root.key in the state directory \
         away from this machine: whoever has it owns the network.",
    );
    Ok(())
}

fn renew(args: &RenewArgs, output: &Output) -> Outcome {
    let path = args.dir.dir()?;
    if !args.root_key.exists() {
        let message = format!("there is no file {}", args.root_key.display());
        return Err(Failure::new(
            Exit::Usage,
            message,
            "--root-key names a copy of the network's root.key",
        ));
    }
    let delegation =
        NetworkDir::renew_issuer(&path, &args.root_key, unix_now()).map_err(|e| explain_directory(&e))?;
    hand_over(&path);
    let until = delegation.not_after.0;
    output.show(
        &serde_json::json!({ "issuer": delegation.issuer, "not_after": until }),
        |_| format!("the registry may sign until {}\n", format::utc(until)),
    )?;
    output.note("restart a running registry for it to take effect");
    Ok(())
}
