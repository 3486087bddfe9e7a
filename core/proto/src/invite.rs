//! An invite: one string that lets a new node enrol.

use crate::{
    codec::{Reader, Writer, from_base64url, to_base64url},
    error::DecodeError,
    identity::NodeId,
    network::{NetworkId, check_version},
};
use core::{fmt, str::FromStr};

/// What every invite begins with.
pub const PREFIX: &str = "osier://join/";
/// Most registries in one invite.
pub const MAX_REGISTRIES: usize = 8;
/// Longest registry URL, in octets.
pub const MAX_URL: usize = 256;
/// Longest invite text that is looked at, in octets.
pub const MAX_INVITE: usize = 4096;

const VERSION: u64 = 1;
/// Octets of BLAKE3 at the end, so that a mangled copy is told from a foreign one.
const CHECKSUM: usize = 4;

/// `osier://join/<base64url of CBOR and checksum>`; holds a secret token, so it is shown to people (`Display`)
/// but never logged (`Debug` hides the token).
#[derive(Clone, PartialEq, Eq)]
pub struct Invite {
    /// Base URLs of the registries, tried in order; 1..=[`MAX_REGISTRIES`], `https://` or `http://`.
    pub registries: Vec<String>,
    pub root: NodeId,
    pub token: [u8; 16],
    /// SHA-256 of the registry's TLS certificate (DER), when it is self-signed.
    pub tls_pin: Option<[u8; 32]>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseInviteError {
    #[error("not an invite: it must begin with `{PREFIX}`; copy the whole line that `osier invite` printed")]
    WrongScheme,
    #[error("the invite is incomplete or has a foreign character in it: copy the whole line again")]
    Truncated,
    #[error("the invite was damaged on its way (its checksum does not match): copy the whole line again")]
    Checksum,
    #[error("the invite cannot be used: {0}; ask for a new one, made by an Osier of the same version")]
    Content(#[from] DecodeError),
}

impl Invite {
    /// The network it leads to.
    pub fn network(&self) -> NetworkId {
        NetworkId::of(&self.root)
    }

    fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.map(4 + usize::from(self.tls_pin.is_some()))
            .uint(0)
            .uint(VERSION);
        w.uint(1).bytes(&self.root.0);
        w.uint(2).bytes(&self.token);
        w.uint(3).array(self.registries.len());
        for registry in &self.registries {
            w.text(registry);
        }
        if let Some(pin) = &self.tls_pin {
            w.uint(4).bytes(pin);
        }
        w.into_vec()
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (mut version, mut root, mut token, mut registries, mut tls_pin) = (None, None, None, None, None);
        let mut r = Reader::new(bytes);
        r.fields(|key, r| {
            match key {
                0 => version = Some(check_version(r.uint()?)?),
                1 => root = Some(r.node()?),
                2 => token = Some(r.octets("token")?),
                3 => registries = Some(r.list("registries", MAX_REGISTRIES, read_url)?),
                4 => tls_pin = Some(r.octets("tls_pin")?),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        r.finish()?;
        version.ok_or(DecodeError::Missing("version"))?;
        let registries = registries.ok_or(DecodeError::Missing("registries"))?;
        if registries.is_empty() {
            return Err(DecodeError::Invalid("registries"));
        }
        Ok(Self {
            registries,
            root: root.ok_or(DecodeError::Missing("root"))?,
            token: token.ok_or(DecodeError::Missing("token"))?,
            tls_pin,
        })
    }
}

/// Whether a registry's base URL can stand in an invite.
pub fn valid_registry_url(url: &str) -> bool {
    let rest = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"));
    url.len() <= MAX_URL
        && url.is_ascii()
        && rest.is_some_and(|host| !host.is_empty())
        && !url.bytes().any(|c| c.is_ascii_control() || c == b' ')
}

fn read_url(r: &mut Reader<'_>) -> Result<String, DecodeError> {
    let url = r.text()?;
    if valid_registry_url(url) {
        Ok(url.to_owned())
    } else {
        Err(DecodeError::Invalid("registries"))
    }
}

/// What follows the content: a mangled copy does not match.
pub fn checksum(bytes: &[u8]) -> [u8; CHECKSUM] {
    let mut checksum = [0; CHECKSUM];
    checksum.copy_from_slice(&blake3::hash(bytes).as_bytes()[..CHECKSUM]);
    checksum
}

impl fmt::Display for Invite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = self.encode();
        let checksum = checksum(&bytes);
        bytes.extend_from_slice(&checksum);
        write!(f, "{PREFIX}{}", to_base64url(&bytes))
    }
}

impl fmt::Debug for Invite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Invite")
            .field("registries", &self.registries)
            .field("root", &self.root)
            .field("tls_pin", &self.tls_pin.is_some())
            .finish_non_exhaustive()
    }
}

impl FromStr for Invite {
    type Err = ParseInviteError;

    /// White space around and inside (a terminal's line breaks) does not matter.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > MAX_INVITE {
            return Err(ParseInviteError::WrongScheme);
        }
        let text: String = text.split_whitespace().collect();
        let encoded = text.strip_prefix(PREFIX).ok_or(ParseInviteError::WrongScheme)?;
        let bytes = from_base64url(encoded).map_err(|_| ParseInviteError::Truncated)?;
        let content = bytes
            .len()
            .checked_sub(CHECKSUM)
            .filter(|&n| n > 0)
            .ok_or(ParseInviteError::Truncated)?;
        let (content, found) = bytes.split_at(content);
        if found != checksum(content) {
            return Err(ParseInviteError::Checksum);
        }
        Ok(Self::decode(content)?)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn invite() -> Invite {
        Invite {
            registries: vec![
                "https://registry.example:6690".into(),
                "http://[fd00::1]:80".into(),
            ],
            root: NodeId([3; 32]),
            token: [0xa5; 16],
            tls_pin: Some([9; 32]),
        }
    }

    #[test]
    fn an_invite_survives_copy_and_paste() {
        let text = invite().to_string();
        assert!(text.starts_with(PREFIX));
        assert_eq!(text.parse(), Ok(invite()));
        let (head, tail) = text.split_at(60);
        assert_eq!(format!("  {head}\r\n   {tail}\n").parse(), Ok(invite()));
        let plain = Invite {
            tls_pin: None,
            ..invite()
        };
        assert_eq!(plain.to_string().parse(), Ok(plain));
    }

    #[test]
    fn a_damaged_invite_says_what_to_do() {
        let text = invite().to_string();
        let parse = |text: &str| text.parse::<Invite>().unwrap_err();
        assert_eq!(parse("https://example.org"), ParseInviteError::WrongScheme);
        assert_eq!(parse(PREFIX), ParseInviteError::Truncated);
        assert_eq!(parse(&format!("{text}%")), ParseInviteError::Truncated);
        // A cut may also leave a number of characters that no base64 has.
        let cut = |n: usize| parse(&text[..text.len() - n]);
        assert!((1..=4).any(|n| cut(n) == ParseInviteError::Checksum));
        for error in [parse("x"), parse(PREFIX), cut(1), cut(2), cut(3), cut(4)] {
            assert!(error.to_string().contains("copy the whole line"), "{error}");
        }
    }

    #[test]
    fn every_changed_character_is_noticed() {
        let text = invite().to_string();
        for index in PREFIX.len()..text.len() {
            let mut damaged = text.clone().into_bytes();
            damaged[index] = if damaged[index] == b'A' { b'B' } else { b'A' };
            assert!(
                String::from_utf8(damaged).unwrap().parse::<Invite>().is_err(),
                "character {index}"
            );
        }
    }

    #[test]
    fn an_invite_to_a_strange_url_is_refused() {
        for url in ["ftp://x", "https://", "https://a b", "file:///etc/passwd"] {
            let text = Invite {
                registries: vec![url.into()],
                ..invite()
            }
            .to_string();
            let error = text.parse::<Invite>().unwrap_err();
            assert_eq!(
                error,
                ParseInviteError::Content(DecodeError::Invalid("registries")),
                "{url}"
            );
        }
    }

    #[test]
    fn debug_hides_the_token() {
        let shown = format!("{:?}", invite());
        assert!(!shown.contains("165") && !shown.contains("a5a5"), "{shown}");
    }
}
