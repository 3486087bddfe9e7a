//! Datagrams a second.

use super::Subject;
use crate::{
    figures::{Sample, UDP_64, UDP_1200},
    traffic::highest_rate,
};
use anyhow::Result;
use std::time::Duration;

/// Octets of data in each datagram; `length` is for one trial of the search.
pub fn udp(subject: &Subject<'_>, length: Duration) -> Result<Vec<Sample>> {
    let sizes = [(64, &UDP_64), (1200, &UDP_1200)];
    let rate = |size| highest_rate(subject.first(), subject.last(), size, length);
    sizes
        .into_iter()
        .map(|(size, metric)| Ok((metric, rate(size)? / 1e3)))
        .collect()
}
