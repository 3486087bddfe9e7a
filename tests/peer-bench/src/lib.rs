//! `make bench`: Osier beside its peers, on the same wires in the same run.
//!
//! A [`system::System`] is a private network that carries packets between hosts; one file in `system/` for each.
//! [`install`] finds or builds the peers' programs, [`topology`] makes the hosts and wires, [`measure`] has one
//! file per measure, with [`traffic`] and [`usage`] as instruments. [`run`] asks every system in turn, again and
//! again, and [`report`] shows what came out. The method and its traps are in docs/benchmark.md.

#![allow(missing_debug_implementations)] // handles of processes and namespaces: nothing to show

pub mod figures;
pub mod install;
pub mod measure;
pub mod report;
pub mod run;
pub mod system;
pub mod topology;
pub mod traffic;
pub mod usage;
