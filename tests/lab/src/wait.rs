//! Waiting for conditions, never for guesses.

use crate::{Error, Result};
use std::time::{Duration, Instant};

/// Time between two looks at the condition.
const POLL: Duration = Duration::from_millis(20);

/// Polls `condition` until it holds; tells how long that took. After `limit` it fails, naming `what`.
pub fn wait_until(limit: Duration, what: &str, mut condition: impl FnMut() -> bool) -> Result<Duration> {
    let start = Instant::now();
    loop {
        if condition() {
            return Ok(start.elapsed());
        }
        if start.elapsed() >= limit {
            return Err(Error::new(format!("not within {limit:?}: {what}")));
        }
        std::thread::sleep(POLL);
    }
}
