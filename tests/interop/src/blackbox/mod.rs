//! Crafted packets against a running daemon, the same for all daemons.
//!
//! A [`Case`] is a file in `tests/conformance/blackbox`: neighbours on one or two links to a daemon, and steps
//! that send packets, look at what the daemon sends and at what its kernel has. [`run`] plays it in a lab of its
//! own. [`Table`] plays all cases against all daemons, some at a time, and compares with what is known of each.

mod case;
mod decode;
mod encode;
mod kernel;
mod link;
mod matching;
mod probe;
mod run;
mod sign;
mod table;

pub use case::{Case, Feature};
pub use probe::Manners;
pub use run::run;
pub use table::{Outcome, Table, cases};
