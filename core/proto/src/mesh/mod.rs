//! Who our neighbours are: the members we know ([`directory`]), how often an address may be tried
//! ([`backoff`]), whom to dial and whom to replace ([`choice`]), what to tell neighbours about members
//! ([`gossip`]), where we can be reached ourselves ([`endpoints`]), and how large packets may be on the way to them
//! ([`path_mtu`]).
//!
//! Nothing here sends anything: [`crate::Node`] asks and acts.

pub mod backoff;
pub mod choice;
pub mod directory;
pub mod endpoints;
pub mod gossip;
pub mod path_mtu;
pub mod patience;
pub mod random;
