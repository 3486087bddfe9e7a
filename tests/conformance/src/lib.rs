//! Conformance cases as files.
//!
//! A case is `cases/NAME.json`: what happens to one speaker, in order. Beside it `NAME.expected` holds what the
//! speaker did about it, one line each with the time in milliseconds. `OSIER_BLESS=1 cargo test -p
//! osier-conformance` writes the expected files anew; the difference is then for a reviewer to read.

mod case;
mod mac;
mod run;

pub use case::{Case, Step};
pub use run::run;
