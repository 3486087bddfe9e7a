//! Where the control API listens: `unix` and `windows` offer the same items.
//!
//! - `Listener::bind(place, group)`: for our own user and, with `group`, its members; nobody else may connect, not
//!   even for a moment. Serves as an [`axum::serve::Listener`].
//! - `remove(place)`: clears away what a listener leaves when it ends.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
pub(super) use unix::{Listener, remove};
#[cfg(windows)]
pub(super) use windows::{Listener, remove};
