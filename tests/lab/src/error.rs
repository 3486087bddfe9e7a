//! What can go wrong: a command that failed, or a condition that did not come true in time.

use std::fmt;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A message fit to end a test with; labs have no error that a caller could repair.
#[derive(Clone, PartialEq, Eq)]
pub struct Error(String);

impl Error {
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The message itself, so that `unwrap` and `main() -> Result` print it legibly.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}
