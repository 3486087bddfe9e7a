//! A crowd: a thousand members, light enough for one process, that load one node.
//!
//! [`peer`] is one of them, sans-IO: what the node accepts as a neighbour and routes to. [`members`] makes their
//! certificates. The tests drive them against a node in virtual time; the program `osier-crowd` against a real one:
//! [`cores`] asks how much several threads do for one peer, [`stage`] is where it runs, [`swarm`] the thread that all peers live on, [`traffic`] the machine behind the node.

#![allow(missing_debug_implementations)] // handles of processes, sockets and threads: nothing to show

pub mod cores;
pub mod members;
pub mod peer;
pub mod stage;
pub mod swarm;
pub mod traffic;
