//! Exploration of Babel: random networks under random misfortune, checked after every event.
//!
//! A [`case::Case`] is a network and what befalls it; [`generate`] makes one from a seed, a file of `cases/` holds
//! one. [`run::run`] plays it: the [`world`] holds real speakers (`osier_babel::Speaker`), links and virtual time,
//! and one event is the delivery of one packet, one wake-up of one speaker, or one deed of the case. What the
//! speakers say is also heard by an [`observer`], which keeps its own account of everybody's feasibility
//! distance from the packets alone, and after every event compares it with what the speaker does. When the deeds
//! are over, [`settle`] asks for reachability within a bound, shortest paths and silence.
//!
//! A violation is made small by [`shrink`] and kept as a file. [`case::Fault`]s break a speaker or the wire on
//! purpose: tests show that each is noticed.

pub mod case;
pub mod explore;
pub mod generate;
pub mod names;
pub mod observer;
pub mod random;
pub mod run;
pub mod said;
pub mod settle;
pub mod shrink;
pub mod world;
