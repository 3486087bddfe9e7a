//! Who our neighbours are: the members we know ([`directory`]), how often an address may be tried
//! ([`backoff`]), whom to dial and whom to replace ([`choice`]), what to tell neighbours about members
//! ([`gossip`]), and where we can be reached ourselves ([`endpoints`]).
//!
//! Nothing here sends anything: [`crate::Node`] asks and acts.

pub mod backoff;
pub mod choice;
pub mod directory;
pub mod endpoints;
pub mod gossip;
pub mod patience;
pub mod random;
