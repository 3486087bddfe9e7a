//! Why received bytes are not what they should be.

/// A structure could not be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("cut short, or not CBOR of the expected shape, at octet {0}")]
    Malformed(usize),
    /// Every structure has exactly one accepted encoding (RFC 8949 section 4.2.1).
    #[error("not in canonical encoding at octet {0}")]
    NotCanonical(usize),
    #[error("{size} octets long, where at most {limit} are allowed")]
    TooLarge { size: usize, limit: usize },
    #[error("{0} stray octets after the end")]
    Trailing(usize),
    #[error("format version {0} is newer than this software knows: update Osier on this machine")]
    UnknownVersion(u64),
    #[error("field {0} must be understood and is not known to this software: update Osier on this machine")]
    UnknownCriticalField(u64),
    #[error("field `{0}` is missing")]
    Missing(&'static str),
    #[error("field `{0}` has a value that is not allowed")]
    Invalid(&'static str),
    #[error("not base64url text (letters, digits, `-` and `_`)")]
    Base64,
}
