//! Whole meshes of real `osier` processes on a simulated internet, driven as a user would: by the command line.
//!
//! [`internet`] has the hosts, routers and NATs, [`mesh`] the network with its registry and members,
//! [`prober`] pings between all of them on one clock, [`story`] is what `make demo` shows, [`picture`] draws,
//! [`failover`] measures how long the silent death of a relay hurts.

#![allow(missing_debug_implementations)] // handles of processes and namespaces: nothing to show

pub mod failover;
pub mod internet;
pub mod mesh;
pub mod picture;
pub mod prober;
pub mod story;
