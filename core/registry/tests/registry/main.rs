//! The registry from outside: over HTTP, on disk, and with real databases.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod enrolment;
mod fixture;
mod hostile;
mod members;
mod postgres;
mod revocation;
mod storage;
mod tls;
