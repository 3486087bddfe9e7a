//! Invites: who holds one may enrol.

use crate::{
    DatabaseError, DirectoryError, Error, Refusal, Registry,
    database::{Session, TokenRow},
    random, tls,
};
use osier_proto::{
    invite::{Invite, MAX_REGISTRIES, valid_registry_url},
    wallclock::UnixTime,
};
use serde::Serialize;
use std::time::Duration;

/// Expired invites are shown for so long.
const KEEP_TOKENS: u64 = 30 * 86_400;

/// How to make an invite.
#[derive(Clone, Debug)]
pub struct InviteOptions {
    /// How many nodes may enrol with it; 1 by default.
    pub uses: u64,
    /// 1 day by default.
    pub expires_in: Duration,
    /// Base URLs of the registries; empty: those of the settings.
    pub urls: Vec<String>,
}

impl Default for InviteOptions {
    fn default() -> Self {
        Self {
            uses: 1,
            expires_in: Duration::from_secs(86_400),
            urls: Vec::new(),
        }
    }
}

/// An invite as the registry remembers it: without its token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InviteInfo {
    /// Names it to [`Registry::revoke_invite`].
    pub id: String,
    pub uses: u64,
    pub uses_left: u64,
    pub created: UnixTime,
    pub expires: UnixTime,
}

impl Registry {
    /// Makes an invite. Its token is nowhere else: the database has only the hash.
    pub async fn create_invite(&self, options: InviteOptions) -> Result<Invite, Error> {
        let registries = if options.urls.is_empty() {
            self.own_urls()?
        } else {
            options.urls
        };
        if let Some(url) = registries.iter().find(|url| !valid_registry_url(url)) {
            return Err(Error::Invalid(format!(
                "`{url}` is not a registry's URL: use http://HOST:PORT or https://HOST:PORT"
            )));
        }
        if registries.len() > MAX_REGISTRIES {
            return Err(Error::Invalid(format!(
                "an invite holds at most {MAX_REGISTRIES} registry URLs"
            )));
        }
        if options.uses == 0 || options.uses > 1_000_000 {
            return Err(Error::Invalid("an invite has 1 to 1,000,000 uses".into()));
        }
        if !(1..=366 * 86_400).contains(&options.expires_in.as_secs()) {
            return Err(Error::Invalid("an invite lasts 1 second to 1 year".into()));
        }
        let token = random::<16>().map_err(DirectoryError::from)?;
        let now = self.now();
        let row = TokenRow {
            hash: token_hash(&token),
            uses: options.uses,
            uses_left: options.uses,
            created: now,
            expires: now.saturating_add(options.expires_in.as_secs()),
        };
        let tls_pin = tls::pin(self.dir())?;
        let mut session = self.database().write().await?;
        session
            .delete_tokens_expired_before(now.saturating_sub(KEEP_TOKENS))
            .await?;
        session.insert_token(&row).await?;
        session.commit().await?;
        Ok(Invite {
            registries,
            root: self.network().root,
            token,
            tls_pin,
        })
    }

    /// The settings' URLs, or the address it listens on when that is a single one.
    fn own_urls(&self) -> Result<Vec<String>, Error> {
        let settings = self.dir().settings();
        if !settings.public_urls.is_empty() {
            return Ok(settings.public_urls.clone());
        }
        let listen = settings.listen;
        if listen.ip().is_unspecified() || listen.port() == 0 {
            return Err(Error::Invalid(
                "the registry does not know where nodes reach it: set public_urls in registry.toml, or give the URL".into(),
            ));
        }
        let scheme = if tls::server_config(self.dir())?.is_some() {
            "https"
        } else {
            "http"
        };
        Ok(vec![format!("{scheme}://{listen}")])
    }

    /// Newest first; expired ones are shown for 30 days.
    pub async fn list_invites(&self) -> Result<Vec<InviteInfo>, Error> {
        let tokens = self.database().read().await?.tokens().await?;
        Ok(tokens.iter().map(invite_info).collect())
    }

    /// Withdraws an invite; nodes that enrolled with it stay.
    pub async fn revoke_invite(&self, id: &str) -> Result<InviteInfo, Error> {
        let mut session = self.database().write().await?;
        let token = session
            .tokens()
            .await?
            .into_iter()
            .find(|token| invite_info(token).id == id);
        let token = token.ok_or_else(|| Error::NoSuchInvite(id.to_owned()))?;
        session.delete_token(&token.hash).await?;
        session.commit().await?;
        Ok(invite_info(&token))
    }
}

pub(crate) fn token_hash(token: &[u8; 16]) -> String {
    blake3::derive_key("osier registry 2026 invite token", token)
        .iter()
        .map(|octet| format!("{octet:02x}"))
        .collect()
}

fn invite_info(token: &TokenRow) -> InviteInfo {
    InviteInfo {
        id: token.hash.chars().take(12).collect(),
        uses: token.uses,
        uses_left: token.uses_left,
        created: token.created,
        expires: token.expires,
    }
}

/// Why the token had no use to give.
pub(crate) async fn refused_token(
    session: &mut Session,
    hash: &str,
    now: UnixTime,
) -> Result<Refusal, DatabaseError> {
    Ok(match session.token(hash).await? {
        None => Refusal::TokenUnknown,
        Some(token) if token.expires <= now => Refusal::TokenExpired(token.expires),
        Some(_) => Refusal::TokenUsed,
    })
}
