//! The shell around the sans-IO node: TUN device, UDP socket, OS threads, clock, state directory, registry
//! client, port mapping and control API.

mod alarm;
pub mod babel_mode;
pub mod bundle;
pub mod clock;
pub mod config;
mod connection;
pub mod control;
mod control_loop;
pub mod daemon;
mod diagnosis;
mod health;
pub mod join;
pub mod logging;
pub mod mapping;
pub mod membership;
pub mod netwatch;
pub mod packet_threads;
pub mod random;
pub mod registry;
pub mod service;
pub mod settings;
pub mod sockets;
pub mod state;
mod storage;
pub mod system;
#[cfg(test)]
mod testing;
pub mod tun;
pub mod udp;
pub mod usage;

pub use config::{Config, TunChoice};
pub use daemon::{Daemon, DaemonError, Handle};
pub use service::Service;
