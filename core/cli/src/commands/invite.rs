//! `osier invite`: making, listing and withdrawing invites.

use super::operator::with_registry;
use crate::{
    control::Control,
    exit::{Exit, Failure, Outcome},
    format,
    output::{Output, table},
    paths::{ControlArgs, RegistryDirArgs},
};
use osier_core::control::types::InviteRequest;
use osier_registry::{InviteInfo, InviteOptions};
use qrcode::{EcLevel, QrCode, render::unicode::Dense1x2};
use std::time::Duration;

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct InviteArgs {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    create: CreateArgs,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// List the invites, without their secrets
    List(ListArgs),
    /// Withdraw an invite; nodes that used it stay members
    Revoke(RevokeArgs),
}

#[derive(Debug, clap::Args)]
struct CreateArgs {
    /// How many nodes may join with it
    #[arg(long, short, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    uses: u64,
    /// How long it is good for, such as 12h or 7d
    #[arg(long, short, value_name = "TIME", default_value = "1d", value_parser = format::parse_duration)]
    expires: Duration,
    /// Where nodes reach the registry; repeatable [default: public_urls in registry.toml]
    #[arg(long = "url", value_name = "URL")]
    urls: Vec<String>,
    /// Print it as a QR code too
    #[arg(long)]
    qr: bool,
    /// To the network that this machine's service has made (`osier network host`)
    #[arg(long, conflicts_with_all = ["urls", "dir"])]
    hosted: bool,
    #[command(flatten)]
    dir: RegistryDirArgs,
    #[command(flatten)]
    node: ControlArgs,
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    #[command(flatten)]
    dir: RegistryDirArgs,
}

#[derive(Debug, clap::Args)]
struct RevokeArgs {
    /// The invite's id, as `osier invite list` shows it
    id: String,
    #[command(flatten)]
    dir: RegistryDirArgs,
}

pub(crate) async fn invite(args: &InviteArgs, output: &Output) -> Outcome {
    match &args.action {
        None => create(&args.create, output).await,
        Some(Action::List(args)) => {
            let invites = with_registry(&args.dir, async |r| r.list_invites().await).await?;
            output.show(&invites, |i| render(i, format::now()))
        }
        Some(Action::Revoke(args)) => {
            let invite = with_registry(&args.dir, async |r| r.revoke_invite(&args.id).await).await?;
            output.show(&invite, |i| format!("invite {} is withdrawn\n", i.id))
        }
    }
}

async fn create(args: &CreateArgs, output: &Output) -> Outcome {
    let invite = match args.hosted {
        true => hosted(args).await?,
        false => own(args).await?,
    };
    let picture = match args.qr {
        true => qr(&invite)?,
        false => String::new(),
    };
    let expires = format::now() + args.expires.as_secs();
    output.show(
        &serde_json::json!({ "invite": invite, "uses": args.uses, "expires": expires }),
        |_| format!("{invite}\n{picture}"),
    )?;
    let uses = match args.uses {
        1 => "one node".to_owned(),
        n => format!("{n} nodes"),
    };
    output.note(format!(
        "Good for {uses} until {}. It is a secret: hand it over privately, and feed it to `osier join -`.",
        format::utc(expires)
    ));
    Ok(())
}

/// By the service.
async fn hosted(args: &CreateArgs) -> Outcome<String> {
    let control = Control::new(&args.node)?;
    let request = InviteRequest {
        uses: args.uses,
        lifetime_seconds: args.expires.as_secs(),
    };
    let reply = control.client.invite(&request).await;
    Ok(reply.map_err(|e| control.explain(e))?.invite)
}

/// With the registry's directory.
async fn own(args: &CreateArgs) -> Outcome<String> {
    let options = InviteOptions {
        uses: args.uses,
        expires_in: args.expires,
        urls: args.urls.clone(),
    };
    let invite = with_registry(&args.dir, async |r| r.create_invite(options).await).await?;
    Ok(invite.to_string())
}

/// Two rows of modules to a line of text, dark on light whatever the terminal's colours.
fn qr(text: &str) -> Outcome<String> {
    let code = QrCode::with_error_correction_level(text, EcLevel::L)
        .map_err(|e| Failure::plain(Exit::Failure, format!("the invite does not fit a QR code: {e}")))?;
    let picture = code
        .render::<Dense1x2>()
        .dark_color(Dense1x2::Light)
        .light_color(Dense1x2::Dark)
        .build();
    Ok(picture + "\n")
}

fn render(invites: &[InviteInfo], now: u64) -> String {
    if invites.is_empty() {
        return "no invites\n".into();
    }
    table(
        ["ID", "USES LEFT", "OF", "EXPIRES", "CREATED"],
        &[1, 2],
        invites.iter().map(|i| {
            let expires = match i.expires.0 <= now {
                true => "expired".into(),
                false => format::relative(i.expires.0, now),
            };
            [
                i.id.clone(),
                i.uses_left.to_string(),
                i.uses.to_string(),
                expires,
                format::utc(i.created.0),
            ]
        }),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_invite_fits_a_qr_code() {
        let text = format!("osier://join/{}", "a".repeat(600));
        assert!(qr(&text).expect("fits").lines().count() > 20);
    }
}
