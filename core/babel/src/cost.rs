//! From Hellos to the cost of a link (RFC 8966 section 3.4.3, appendix A.2).

use crate::neighbour::{HelloHistory, Neighbour};
use crate::{CostModel, INFINITY, InterfaceConfig};

/// A delivery probability of 1.
const ONE: u32 = 1 << 16;
/// This many Hellos missed in a row make a lossy link unusable. With 30 % loss that happens by chance once in
/// about 120 Hellos, and a link that died is noticed in at most 4.5 intervals.
const ETX_DEAD_AFTER: u8 = 4;

/// Receive cost: what we tell the neighbour in IHUs.
pub(crate) fn rx_cost(config: &InterfaceConfig, neighbour: &Neighbour, usable: bool) -> u16 {
    if !usable {
        return INFINITY;
    }
    let nominal = config.rx_cost.clamp(1, INFINITY - 1);
    let delivered = |history| delivery(config.cost_model, history);
    match delivered(&neighbour.multicast).max(delivered(&neighbour.unicast)) {
        0 => INFINITY,
        beta => scale(nominal, ONE, beta),
    }
}

/// Cost of the link: what is added to the neighbour's metrics. `rx_cost` is ours from [`rx_cost`], `penalty` is
/// for its round-trip time (RFC 9616 section 4.2).
pub(crate) fn link_cost(config: &InterfaceConfig, tx_cost: u16, rx_cost: u16, penalty: u16) -> u16 {
    if tx_cost == INFINITY || rx_cost == INFINITY {
        return INFINITY;
    }
    let nominal = config.rx_cost.clamp(1, INFINITY - 1);
    let cost = match config.cost_model {
        // A.2.1: the neighbour's word.
        CostModel::TwoOutOfThree => tx_cost.max(1),
        // A.2.2: MAX(txcost, nominal) / probability that the neighbour reaches us. The maximum keeps a
        // neighbour from talking our own measurement down.
        CostModel::Etx => scale(tx_cost.max(nominal), rx_cost.into(), nominal.into()),
    };
    cost.saturating_add(penalty).min(INFINITY - 1)
}

/// `cost * numerator / denominator`, finite.
fn scale(cost: u16, numerator: u32, denominator: u32) -> u16 {
    let scaled = u64::from(cost) * u64::from(numerator) / u64::from(denominator.max(1));
    u16::try_from(scaled).unwrap_or(INFINITY).min(INFINITY - 1)
}

/// How likely a Hello is to arrive, out of [`ONE`]; 0 when the link cannot be used.
fn delivery(model: CostModel, history: &HelloHistory) -> u32 {
    let (bits, slots) = (history.bits(), history.slots());
    match model {
        CostModel::TwoOutOfThree => {
            // A neighbour heard for the first time is usable at once.
            let needed = if slots >= 3 { 2 } else { 1 };
            if (bits & 0b111).count_ones() >= needed {
                ONE
            } else {
                0
            }
        }
        CostModel::Etx => {
            if bits & ((1 << ETX_DEAD_AFTER) - 1) == 0 {
                return 0;
            }
            // A recent Hello weighs more than an old one.
            let (mut weight, mut heard, mut all) = (ONE, 0, 0);
            for slot in 0..slots {
                all += weight;
                if bits >> slot & 1 == 1 {
                    heard += weight;
                }
                weight = weight / 16 * 15;
            }
            // `heard` and `all` are at most 16 * ONE: no overflow in 64 bits.
            u32::try_from(u64::from(heard) * u64::from(ONE) / u64::from(all.max(1))).unwrap_or(ONE)
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{Duration, Instant, seqno::Seqno};

    fn config(cost_model: CostModel) -> InterfaceConfig {
        InterfaceConfig {
            cost_model,
            rx_cost: 96,
            hello_interval: Duration::from_secs(1),
            update_interval: Duration::from_secs(4),
            link_local: "fe80::1".parse().unwrap(),
            ipv4: None,
            v4_via_v6: false,
            mtu: 1280,
            split_horizon: true,
            point_to_point: true,
            rtt: None,
        }
    }

    /// A neighbour whose Hellos `pattern` were heard ('1') or lost.
    fn neighbour(pattern: &str) -> Neighbour {
        let mut neighbour = Neighbour::new(
            (crate::InterfaceId(1), core::net::Ipv6Addr::LOCALHOST),
            Instant::ZERO,
        );
        for (seqno, heard) in (0..).zip(pattern.chars()) {
            if heard == '1' {
                let second = Duration::from_secs(1);
                neighbour
                    .multicast
                    .heard(Seqno(seqno), second, second, Instant::ZERO);
            }
        }
        let lost = pattern.len() - pattern.rfind('1').map_or(0, |i| i + 1);
        if lost > 0 {
            neighbour
                .multicast
                .expire(Instant::ZERO + Duration::from_millis(500 + 1000 * lost as u64));
        }
        neighbour
    }

    fn costs(model: CostModel, pattern: &str, tx_cost: u16) -> (u16, u16) {
        let config = config(model);
        let rx = rx_cost(&config, &neighbour(pattern), true);
        (rx, link_cost(&config, tx_cost, rx, 0))
    }

    #[test]
    fn two_out_of_three_is_all_or_nothing() {
        let two_of_three = |pattern| costs(CostModel::TwoOutOfThree, pattern, 200);
        assert_eq!(two_of_three("1"), (96, 200));
        assert_eq!(two_of_three("10"), (96, 200));
        assert_eq!(two_of_three("100"), (INFINITY, INFINITY));
        assert_eq!(two_of_three("1001"), (INFINITY, INFINITY));
        assert_eq!(two_of_three("10011"), (96, 200));
        assert_eq!(two_of_three("111101"), (96, 200));
    }

    #[test]
    fn etx_rises_with_loss_and_ends_at_infinity() {
        let etx = |pattern| costs(CostModel::Etx, pattern, 96);
        assert_eq!(etx("1"), (96, 96));
        assert_eq!(etx("1111111111111111"), (96, 96));
        let (half, _) = etx("1010101010101010");
        assert!((180..=210).contains(&half), "{half}");
        assert_ne!(etx("1111000").1, INFINITY);
        assert_eq!(etx("11110000"), (INFINITY, INFINITY));
    }

    #[test]
    fn costs_are_positive_finite_or_infinite_as_told() {
        for model in [CostModel::TwoOutOfThree, CostModel::Etx] {
            assert!(costs(model, "1", 0).1 > 0);
            assert_eq!(costs(model, "1", INFINITY).1, INFINITY);
            assert_eq!(costs(model, "", 96).1, INFINITY);
            assert!(costs(model, "1010101010101011", INFINITY - 1).1 < INFINITY);
        }
        assert_eq!(rx_cost(&config(CostModel::Etx), &neighbour("1"), false), INFINITY);
    }

    #[test]
    fn a_neighbour_cannot_talk_a_lossy_link_cheaper_than_measured() {
        assert_eq!(costs(CostModel::Etx, "1", 1).1, 96);
    }

    #[test]
    fn a_long_round_trip_costs_more_but_is_never_infinite() {
        let config = config(CostModel::TwoOutOfThree);
        assert_eq!(link_cost(&config, 96, 96, 150), 246);
        assert_eq!(link_cost(&config, INFINITY - 1, 96, 150), INFINITY - 1);
        assert_eq!(link_cost(&config, INFINITY, 96, 150), INFINITY);
    }

    #[test]
    fn a_neighbour_with_unicast_hellos_only_is_usable() {
        let mut unicast = neighbour("1");
        core::mem::swap(&mut unicast.multicast, &mut unicast.unicast);
        assert_eq!(rx_cost(&config(CostModel::TwoOutOfThree), &unicast, true), 96);
    }
}
