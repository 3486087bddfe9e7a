//! Locks whose holders cannot leave anything half-done.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// A panic while the lock was held leaves a whole value behind: what this crate keeps in locks is written in one step,
/// or is such that any state between steps is valid.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
