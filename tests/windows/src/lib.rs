//! The parts of `core/node` that are Windows' own and need no driver, built alone, so that their tests run under wine
//! in a minute (`tests/targets`): the named pipe, with HTTP over it, the directory lock, wake-ups, socket events.
//!
//! The modules are core/node's files, not copies.

#![cfg(windows)]
// The rest of core/node, which uses them, is not here.
#![allow(dead_code, unused_imports)]

mod control;
#[path = "../../../core/node/src/system/mod.rs"]
mod system;
#[cfg(test)]
mod tests;
