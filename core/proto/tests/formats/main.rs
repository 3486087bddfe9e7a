//! Certificates, records, revocation lists and requests: what is accepted and what is refused.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod any;
mod certificates;
mod fixture;
mod records;
mod requests;
mod revocations;
