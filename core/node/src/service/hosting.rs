//! A network of this machine's own: what the service needs from the registry, which the program brings.

use osier_proto::invite::Invite;
use std::{fmt, net::IpAddr, pin::Pin, time::Duration};

/// What a [`Host`] answers later.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, HostError>> + Send + 'a>>;

/// Why a registry does not do what it should.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct HostError {
    /// Stable, machine-readable.
    pub code: &'static str,
    pub message: String,
    /// What to do.
    pub fix: String,
}

/// What an invite is to be.
#[derive(Clone, Debug)]
pub struct InviteOrder {
    /// Nodes that may join with it, 1 or more.
    pub uses: u64,
    pub lifetime: Duration,
    /// Where newcomers may find this machine, best first; for want of something better that the operator has set.
    pub addresses: Vec<IpAddr>,
}

/// Makes one network, and runs its registry as long as the service runs. The service owns it and asks one thing at a
/// time.
pub trait Host: Send + Sync + fmt::Debug {
    /// The network's name, if one was made.
    fn network(&self) -> Option<String>;

    /// Whether its registry runs.
    fn serves(&self) -> bool;

    /// Makes the network; an error leaves none behind.
    fn create<'a>(&'a mut self, name: &'a str) -> Answer<'a, ()>;

    /// Runs the registry, unless it runs.
    fn serve(&mut self) -> Answer<'_, ()>;

    /// Makes an invite to the network.
    fn invite(&mut self, order: InviteOrder) -> Answer<'_, Invite>;

    /// Ends the registry, in good order.
    fn stop(&mut self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}
