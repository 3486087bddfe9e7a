//! The node's side of the registry's HTTP API.
//!
//! [`Client`] makes single requests, at the first registry of the list that answers; [`Worker`] runs what a node
//! wants of the registry in the background, with back-off. A registry that is dead, slow or lying costs a node
//! nothing but the news.

mod client;
mod connect;
mod tls;
mod worker;

pub use client::{Client, Registries, RegistryError};
pub use worker::{Job, Report, Worker, WorkerConfig};
