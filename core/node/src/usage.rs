//! How much traffic there was on each day: this machine's own, and what it carried for others.
//!
//! The node counts since its start; a [`Meter`] adds what has come since the last look to the day of the look. Days are
//! those of UTC, so that a journey moves no figures. Pure; the file `usage` in the state directory holds a [`Ledger`].

use crate::control::types::{Octets, Usage, UsageDay};
use osier_proto::{accounting::Carried, wallclock::UnixTime};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Days kept.
pub const DAYS: usize = 400;
const DAY: u64 = 86_400;

/// Octets per day.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// By the number of days since 1970.
    days: BTreeMap<u64, Day>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Day {
    own: Octets,
    carried: Octets,
}

/// The file's content.
#[derive(Serialize, Deserialize)]
struct Stored {
    days: Vec<(u64, Day)>,
}

impl Ledger {
    /// `None` when it makes no sense.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let stored: Stored = serde_json::from_slice(bytes).ok()?;
        let mut ledger = Self {
            days: stored.days.into_iter().collect(),
        };
        ledger.forget_old();
        Some(ledger)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let days = self.days.iter().map(|(day, octets)| (*day, *octets)).collect();
        // Numbers always make JSON.
        serde_json::to_vec(&Stored { days }).unwrap_or_default()
    }

    fn add(&mut self, now: UnixTime, own: Octets, carried: Octets) {
        let day = self.days.entry(now.0 / DAY).or_default();
        for (sum, more) in [(&mut day.own, own), (&mut day.carried, carried)] {
            sum.sent = sum.sent.saturating_add(more.sent);
            sum.received = sum.received.saturating_add(more.received);
        }
        self.forget_old();
    }

    /// The newest stay, whatever day it is: a clock that was wrong once must not cost the true days.
    fn forget_old(&mut self) {
        while self.days.len() > DAYS {
            self.days.pop_first();
        }
    }

    /// The newest `count` days until `now` and with traffic, oldest first.
    pub(crate) fn view(&self, now: UnixTime, count: usize) -> Usage {
        let today = now.0 / DAY;
        let first = (today + 1).saturating_sub(count as u64);
        let days = self.days.range(first..).map(|(day, octets)| UsageDay {
            date: date(*day),
            own: octets.own,
            carried: octets.carried,
        });
        Usage {
            today: date(today),
            days: days.collect(),
        }
    }
}

/// `YYYY-MM-DD`.
fn date(day: u64) -> String {
    let text = UnixTime(day.saturating_mul(DAY)).to_string();
    text.split('T').next().unwrap_or_default().to_owned()
}

/// Fills a ledger from counters that only rise.
#[derive(Debug)]
pub(crate) struct Meter {
    ledger: Ledger,
    counted: Carried,
    is_dirty: bool,
}

impl Meter {
    pub(crate) fn new(ledger: Ledger) -> Self {
        Self {
            ledger,
            counted: Carried::default(),
            is_dirty: false,
        }
    }

    /// Takes the counters' values of now.
    pub(crate) fn count(&mut self, total: Carried, now: UnixTime) {
        let before = core::mem::replace(&mut self.counted, total);
        let own = Octets {
            sent: total.sent_own.saturating_sub(before.sent_own),
            received: total.received_own.saturating_sub(before.received_own),
        };
        let carried = Octets {
            sent: total.sent_transit.saturating_sub(before.sent_transit),
            received: total.received_transit.saturating_sub(before.received_transit),
        };
        if (own, carried) != Default::default() {
            self.ledger.add(now, own, carried);
            self.is_dirty = true;
        }
    }

    pub(crate) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// What is to be written, if anything is new.
    pub(crate) fn take_changes(&mut self) -> Option<Vec<u8>> {
        core::mem::take(&mut self.is_dirty).then(|| self.ledger.encode())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn total(own: u64, transit: u64) -> Carried {
        Carried {
            sent_own: own,
            received_own: 2 * own,
            sent_transit: transit,
            received_transit: transit,
            control: 1_000_000,
        }
    }

    fn at(day: u64) -> UnixTime {
        UnixTime(day * DAY + 7)
    }

    #[test]
    fn each_day_gets_what_came_since_the_last_look() {
        let mut meter = Meter::new(Ledger::default());
        meter.count(total(0, 0), at(20_000));
        assert!(meter.take_changes().is_none());
        meter.count(total(100, 30), at(20_000));
        meter.count(total(150, 30), at(20_001));
        meter.count(total(150, 80), at(20_001));
        assert!(meter.take_changes().is_some() && meter.take_changes().is_none());
        let usage = meter.ledger().view(at(20_001), 400);
        assert_eq!(usage.today, "2024-10-05");
        let rows: Vec<_> = usage
            .days
            .iter()
            .map(|d| (d.date.as_str(), d.own.sent, d.own.received, d.carried.sent))
            .collect();
        assert_eq!(rows, [("2024-10-04", 100, 200, 30), ("2024-10-05", 50, 100, 50)]);
        assert_eq!(meter.ledger().view(at(20_001), 1).days.len(), 1);
    }

    #[test]
    fn what_was_kept_goes_on_after_a_restart() {
        let mut first = Meter::new(Ledger::default());
        first.count(total(10, 0), at(5));
        let mut second = Meter::new(Ledger::decode(&first.take_changes().unwrap()).unwrap());
        // The counters begin anew.
        second.count(total(3, 0), at(5));
        assert_eq!(
            second.ledger().view(at(5), 1).days[0].own,
            Octets {
                sent: 13,
                received: 26
            }
        );
    }

    #[test]
    fn four_hundred_days_are_kept_and_a_wrong_clock_costs_none_of_them() {
        let mut meter = Meter::new(Ledger::default());
        let mut octets = 0;
        let mut use_some = |meter: &mut Meter, day| {
            octets += 1;
            meter.count(total(octets, 0), at(day));
        };
        // Before the clock was set.
        use_some(&mut meter, 0);
        (20_000..20_399).for_each(|day| use_some(&mut meter, day));
        use_some(&mut meter, 60_000);
        let days = meter.ledger().view(at(20_398), DAYS).days;
        assert_eq!(days.len(), 400);
        assert_eq!(days[0].date, date(20_000));
        assert_eq!(
            Ledger::decode(&meter.ledger().encode()).as_ref(),
            Some(meter.ledger())
        );
    }

    #[test]
    fn nonsense_is_refused() {
        for bytes in [&b""[..], b"[]", b"{\"days\":[[1]]}", b"{\"days\":[[-1,{}]]}"] {
            assert_eq!(Ledger::decode(bytes), None);
        }
    }
}
