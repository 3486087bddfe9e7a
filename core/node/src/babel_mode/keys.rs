//! MAC keys, as the operator gives them: on the command line, or better in files.

use osier_babel::{Authentication, AuthenticationMode, KeyError, MAX_KEYS, MacKey};
use std::io;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Where a key comes from: `hmac-sha256:HEX`, `blake2s:HEX`, or `@FILE` with one of these on each line.
#[derive(Clone, Debug)]
pub enum KeySource {
    /// In the open: whoever lists processes sees a command line.
    Key(MacKey),
    /// Read at the start, and again on SIGHUP.
    File(PathBuf),
}

/// How packets are authenticated (RFC 8967). Without any key they are not.
#[derive(Clone, Debug, Default)]
pub struct MacOptions {
    pub keys: Vec<KeySource>,
    /// Sign, but believe everybody: for the time until all members have keys.
    pub sign_only: bool,
}

/// What is wrong with keys.
#[derive(Debug, thiserror::Error)]
pub enum MacError {
    #[error("a MAC key is written hmac-sha256:HEX, blake2s:HEX, or @FILE")]
    Syntax,
    #[error("a MAC key is an even number of hexadecimal digits")]
    Hex,
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("cannot read the keys in {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{}, line {line}: {problem}", path.display())]
    Line {
        path: PathBuf,
        line: usize,
        problem: Box<MacError>,
    },
    #[error("there is no key in {}: write hmac-sha256:HEX or blake2s:HEX into it", .0.display())]
    Empty(PathBuf),
    #[error("{0} MAC keys are too many: at most {MAX_KEYS} can be in use at once")]
    TooMany(usize),
    #[error("the system has no randomness for authentication")]
    Entropy,
}

impl std::str::FromStr for KeySource {
    type Err = MacError;

    fn from_str(text: &str) -> Result<Self, MacError> {
        match text.strip_prefix('@') {
            Some("") => Err(MacError::Syntax),
            Some(path) => Ok(Self::File(path.into())),
            None => parse_key(text).map(Self::Key),
        }
    }
}

impl MacOptions {
    pub fn is_on(&self) -> bool {
        !self.keys.is_empty()
    }

    /// Whether [`Self::load`] may give something else another time.
    pub fn has_files(&self) -> bool {
        self.keys
            .iter()
            .any(|source| matches!(source, KeySource::File(_)))
    }

    /// Reads the files. Never no keys when [`Self::is_on`].
    pub fn load(&self) -> Result<Vec<MacKey>, MacError> {
        let mut keys = Vec::new();
        for source in &self.keys {
            match source {
                KeySource::Key(key) => keys.push(key.clone()),
                KeySource::File(path) => keys.extend(read_keys(path)?),
            }
        }
        if keys.len() > MAX_KEYS {
            return Err(MacError::TooMany(keys.len()));
        }
        Ok(keys)
    }

    #[cfg(any(target_os = "linux", test))]
    /// What the speaker is told, with entropy of the system.
    pub(super) fn authentication(&self, keys: &[MacKey]) -> Result<Authentication, MacError> {
        let mut entropy = [0; 32];
        ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut entropy)
            .map_err(|_| MacError::Entropy)?;
        let mode = if self.sign_only {
            AuthenticationMode::SignOnly
        } else {
            AuthenticationMode::Require
        };
        Ok(Authentication {
            keys: keys.to_vec(),
            mode,
            entropy,
        })
    }
}

fn parse_key(text: &str) -> Result<MacKey, MacError> {
    let (algorithm, hex) = text.split_once(':').ok_or(MacError::Syntax)?;
    let secret = parse_hex(hex)?;
    match algorithm {
        "hmac-sha256" => Ok(MacKey::hmac_sha256(&secret)?),
        // babeld and BIRD call it blake2s128.
        "blake2s" | "blake2s128" => Ok(MacKey::blake2s(&secret)?),
        _ => Err(MacError::Syntax),
    }
}

fn parse_hex(hex: &str) -> Result<Zeroizing<Vec<u8>>, MacError> {
    let mut octets = Zeroizing::new(Vec::with_capacity(hex.len() / 2));
    let digit = |c: u8| char::from(c).to_digit(16).ok_or(MacError::Hex);
    let pairs = hex.as_bytes().chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return Err(MacError::Hex);
    }
    for pair in pairs {
        // Two digits are at most 255.
        octets.push((digit(pair[0])? * 16 + digit(pair[1])?) as u8);
    }
    Ok(octets)
}

fn read_keys(path: &Path) -> Result<Vec<MacKey>, MacError> {
    let unreadable = |source| MacError::Read {
        path: path.to_owned(),
        source,
    };
    let text = Zeroizing::new(std::fs::read_to_string(path).map_err(unreadable)?);
    if anybody_can_read(path).map_err(unreadable)? {
        tracing::warn!(
            "everybody on this machine can read the keys in {}: run `chmod 600` on it",
            path.display()
        );
    }
    let mut keys = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        keys.push(parse_key(line).map_err(|problem| MacError::Line {
            path: path.to_owned(),
            line: number + 1,
            problem: Box::new(problem),
        })?);
    }
    if keys.is_empty() {
        return Err(MacError::Empty(path.to_owned()));
    }
    Ok(keys)
}

#[cfg(unix)]
fn anybody_can_read(path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::PermissionsExt;
    Ok(std::fs::metadata(path)?.permissions().mode() & 0o004 != 0)
}

/// Access there is no matter of three digits.
#[cfg(not(unix))]
fn anybody_can_read(_path: &Path) -> io::Result<bool> {
    Ok(false)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::io::Write;

    fn source(text: &str) -> Result<KeySource, MacError> {
        text.parse()
    }

    fn file(text: &str) -> (tempfile::NamedTempFile, MacOptions) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let keys = vec![source(&format!("@{}", file.path().display())).unwrap()];
        let options = MacOptions {
            keys,
            sign_only: false,
        };
        (file, options)
    }

    #[test]
    fn keys_are_given_by_algorithm_or_by_file() {
        assert!(matches!(source("hmac-sha256:00ff"), Ok(KeySource::Key(_))));
        assert!(matches!(source("blake2s:00FF"), Ok(KeySource::Key(_))));
        assert!(matches!(source("@/etc/k"), Ok(KeySource::File(path)) if path == Path::new("/etc/k")));
    }

    #[test]
    fn what_is_no_key_is_refused_without_repeating_it() {
        for wrong in [
            "",
            "@",
            "secret",
            "md5:00",
            "hmac-sha256:0",
            "hmac-sha256:zz",
            "blake2s:",
            "hmac-sha256",
        ] {
            assert!(source(wrong).is_err(), "{wrong}");
        }
        let long = format!("blake2s:{}", "ab".repeat(33));
        let shown = source(&long).unwrap_err().to_string();
        assert!(shown.contains("33") && !shown.contains("abab"), "{shown}");
    }

    #[test]
    fn a_file_has_one_key_on_each_line() {
        let (_file, options) = file("# ours\nhmac-sha256:0011\n\n  blake2s:22\n");
        assert_eq!(options.load().unwrap().len(), 2);
        assert!(options.is_on() && options.has_files());
    }

    #[test]
    fn a_bad_file_is_an_error_that_names_the_line_but_not_the_key() {
        let (_file, options) = file("hmac-sha256:00\nhmac-sha256:5ecre7\nblake2s:xx");
        let shown = options.load().unwrap_err().to_string();
        assert!(shown.contains("line 2") && !shown.contains("5ecre7"), "{shown}");
        let (_file, options) = file("# nothing\n");
        assert!(matches!(options.load(), Err(MacError::Empty(_))));
        let (_file, options) = file(&"blake2s:01\n".repeat(MAX_KEYS + 1));
        assert!(matches!(options.load(), Err(MacError::TooMany(_))));
        let absent = MacOptions {
            keys: vec![KeySource::File("/nowhere/at/all".into())],
            sign_only: false,
        };
        assert!(matches!(absent.load(), Err(MacError::Read { .. })));
    }

    #[test]
    fn entropy_is_fresh_each_time() {
        let (_file, options) = file("blake2s:01\n");
        let keys = options.load().unwrap();
        let draw = || options.authentication(&keys).unwrap().entropy;
        assert_ne!(draw(), draw());
    }
}
