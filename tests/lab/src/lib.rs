//! Network namespaces for tests and demos: made without root, gone when the test is.
//!
//! # Life of a lab
//!
//! A test calls [`enter`] first. Outside a lab that runs the whole program again inside fresh user, mount,
//! process and network namespaces (`unshare`), waits for it and exits with its status, so everything after
//! `enter()` runs as root of a private machine: it may add interfaces, load nft rules and set sysctls, and
//! when it ends or is killed, every process and namespace it made ends with it.
//!
//! Then [`Lab::new`] gives a set of namespaces of its own; several labs in one program do not meet.
//!
//! ```no_run
//! # fn main() -> osier_lab::Result<()> {
//! use std::time::Duration;
//! osier_lab::enter();
//! let lab = osier_lab::Lab::new("ping")?;
//! let (a, b) = (lab.netns("a")?, lab.netns("b")?);
//! lab.veth((&a, "eth0"), (&b, "eth0"))?;
//! a.address("eth0", "10.0.0.1/24")?;
//! b.address("eth0", "10.0.0.2/24")?;
//! osier_lab::wait_until(Duration::from_secs(3), "a reaches b", || a.ping("10.0.0.2"))?;
//! # Ok(())
//! # }
//! ```
//!
//! Needs `unshare`, `nsenter`, `setpriv` (util-linux), `ip`, `bridge` (iproute2), and for some helpers `nft`
//! and `ping`.

mod enter;
mod error;
mod home_router;
mod netns;
mod process;
mod wait;

pub use enter::{enter, inside, tool};
pub use error::{Error, Result};
pub use home_router::{HOST as HOME_HOST, HomeRouter};
pub use netns::{Lab, Netns, Silence, Wire};
pub use process::Process;
pub use wait::wait_until;
