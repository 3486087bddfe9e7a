//! Octets per day.

use crate::{format::octets, output::table};
use osier_core::control::types::{Octets, Usage, UsageDay};

pub(crate) fn usage(u: &Usage) -> String {
    if u.days.is_empty() {
        return "no traffic on these days\n".into();
    }
    let row = |name: &str, own: Octets, carried: Octets| {
        [
            name.to_owned(),
            octets(own.sent),
            octets(own.received),
            octets(carried.sent),
            octets(carried.received),
        ]
    };
    let sum = |of: fn(&UsageDay) -> Octets| Octets {
        sent: u.days.iter().map(|d| of(d).sent).sum(),
        received: u.days.iter().map(|d| of(d).received).sum(),
    };
    let days = u.days.iter().map(|d| row(&d.date, d.own, d.carried));
    let total = row("total", sum(|d| d.own), sum(|d| d.carried));
    table(
        [
            "day (UTC)",
            "own sent",
            "own received",
            "carried sent",
            "carried received",
        ],
        &[1, 2, 3, 4],
        days.chain([total]),
    )
}

pub(crate) fn usage_csv(u: &Usage) -> String {
    let mut text = "date,own_sent,own_received,carried_sent,carried_received\n".to_owned();
    for day in &u.days {
        let (own, carried) = (day.own, day.carried);
        text += &format!(
            "{},{},{},{},{}\n",
            day.date, own.sent, own.received, carried.sent, carried.received
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Usage {
        let day = |date: &str, n: u64| UsageDay {
            date: date.into(),
            own: Octets {
                sent: n,
                received: 3_000_000 * n,
            },
            carried: Octets { sent: 0, received: n },
        };
        Usage {
            today: "2026-11-23".into(),
            days: vec![day("2026-11-22", 7), day("2026-11-23", 1_200)],
        }
    }

    #[test]
    fn days_have_a_total() {
        let plain = anstream::adapter::strip_str(&usage(&sample())).to_string();
        insta::assert_snapshot!(plain);
        assert_eq!(usage(&Usage::default()), "no traffic on these days\n");
    }

    #[test]
    fn values_for_spreadsheets_are_whole_octets() {
        assert_eq!(
            usage_csv(&sample()),
            "date,own_sent,own_received,carried_sent,carried_received\n\
             2026-11-22,7,21000000,0,7\n\
             2026-11-23,1200,3600000000,0,1200\n"
        );
    }
}
