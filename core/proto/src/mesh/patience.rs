//! How long silence must last before it means death: by the loss that a link has shown, and by how far away
//! its other end is.

use crate::{Duration, link::LinkCounters};

/// Delivery of 1, in thousandths.
const ONE: u32 = 1000;
/// How likely echo and answer both pass, as long as nothing was measured; and what is believed at most and at
/// least, whatever was.
const UNKNOWN: u32 = 800;
const BEST: u32 = 960;
const WORST: u32 = 250;
/// A round of echoes that all get lost on a link that works: at most one in thirty thousand, in millionths.
const FALSE_DEATHS: u32 = 33;
const FEWEST_ECHOES: u32 = 5;
/// Packets of one direction that make a measurement.
const SAMPLE: u64 = 16;

/// What part of the packets passes, both ways together, as the counters of both ends tell.
#[derive(Clone, Copy, Debug, Default)]
pub struct Delivery {
    /// Ours and the peer's at the last measurement.
    base: Option<(LinkCounters, LinkCounters)>,
    smoothed: Option<u32>,
}

impl Delivery {
    /// Both ends' counters around one Echo: ours of what was sent before it, the peer's when it answered, ours of
    /// what was received by then. A peer that lies makes us give it up sooner or later than
    /// others, within [`BEST`] and [`WORST`].
    pub fn measure(&mut self, ours: LinkCounters, peers: LinkCounters) {
        let Some((our_base, peer_base)) = self.base else {
            self.base = Some((ours, peers));
            return;
        };
        let passed = |sent: u64, sent_before: u64, received: u64, received_before: u64| {
            Some((
                sent.checked_sub(sent_before)?,
                received.checked_sub(received_before)?,
            ))
        };
        let there = passed(ours.sent, our_base.sent, peers.received, peer_base.received);
        let back = passed(peers.sent, peer_base.sent, ours.received, our_base.received);
        let (Some(there), Some(back)) = (there, back) else {
            // One end counts anew.
            self.base = Some((ours, peers));
            return;
        };
        if there.0.min(back.0) < SAMPLE {
            return;
        }
        self.base = Some((ours, peers));
        let part = |(sent, received): (u64, u64)| {
            u32::try_from(received.min(sent).saturating_mul(ONE.into()) / sent).unwrap_or(ONE)
        };
        let sample = part(there) * part(back) / ONE;
        self.smoothed = Some(self.smoothed.map_or(sample, |old| (old * 3 + sample) / 4));
    }

    /// The link was down: what got lost meanwhile is not what it loses when it works.
    pub fn restart(&mut self) {
        self.base = None;
    }

    /// In thousandths, both ways.
    pub fn both_ways(&self) -> Option<u32> {
        self.smoothed
    }

    /// How many echoes without an answer are proof.
    pub fn echoes_needed(&self) -> u32 {
        let fails = ONE - self.smoothed.unwrap_or(UNKNOWN).clamp(WORST, BEST);
        let (mut all_lost, mut echoes) = (1_000_000, 0);
        // `fails` is at most 750: each step shrinks it.
        while all_lost > FALSE_DEATHS {
            all_lost = all_lost * fails / ONE;
            echoes += 1;
        }
        echoes.max(FEWEST_ECHOES)
    }
}

/// A round of echoes: the first, a pause in which a healthy peer answers it, the others in quick succession, and
/// a last wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Round {
    pub echoes: u32,
    first_wait: Duration,
    gap: Duration,
    last_wait: Duration,
}

impl Round {
    /// Where data waits: it ends soonest, 260 ms on a short link that loses nothing.
    pub fn urgent(delivery: &Delivery, rtt: Option<Duration>) -> Self {
        let rtt = rtt.unwrap_or(UNMEASURED);
        Self {
            echoes: delivery.echoes_needed(),
            first_wait: (rtt * 5 / 4 + Duration::from_millis(20)).clamp(GAP, LONGEST_WAIT / 2),
            gap: GAP,
            last_wait: (rtt * 3 / 2).clamp(SHORTEST_WAIT, LONGEST_WAIT),
        }
    }

    /// Where nothing waits: short outages pass unnoticed.
    pub fn calm(delivery: &Delivery, rtt: Option<Duration>) -> Self {
        let urgent = Self::urgent(delivery, rtt);
        Self {
            first_wait: urgent.first_wait.max(CALM_GAP),
            gap: CALM_GAP,
            last_wait: urgent.last_wait.max(CALM_GAP),
            ..urgent
        }
    }

    /// When the next echo leaves, after the beginning, `sent` having left already; or, when all have, when the
    /// round is lost.
    pub fn next(&self, sent: u32) -> Duration {
        match sent {
            0 => Duration::ZERO,
            _ if sent < self.echoes => self.first_wait + self.gap * (sent - 1),
            _ => self.first_wait + self.gap * self.echoes.saturating_sub(2) + self.last_wait,
        }
    }
}

const GAP: Duration = Duration::from_millis(40);
const CALM_GAP: Duration = Duration::from_millis(150);
const SHORTEST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// Round-trip time of a link that was never measured.
const UNMEASURED: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(sent: u64, received: u64) -> LinkCounters {
        LinkCounters { sent, received }
    }

    fn millis(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn loss_in_either_direction_is_seen() {
        let mut delivery = Delivery::default();
        delivery.measure(counters(0, 0), counters(0, 0));
        delivery.measure(counters(10, 10), counters(10, 10));
        assert_eq!(delivery.both_ways(), None, "too few to tell");
        delivery.measure(counters(100, 50), counters(100, 70));
        assert_eq!(delivery.both_ways(), Some(350));
        for n in 2..40 {
            delivery.measure(counters(100 * n, 50 + 100 * n), counters(100 * n, 70 + 100 * n));
        }
        assert!(delivery.both_ways() > Some(990), "it got better: {delivery:?}");
    }

    #[test]
    fn a_peer_that_counts_anew_is_no_loss() {
        let mut delivery = Delivery::default();
        delivery.measure(counters(1000, 1000), counters(1000, 1000));
        delivery.measure(counters(1100, 1100), counters(5, 5));
        delivery.measure(counters(1200, 1200), counters(105, 105));
        assert_eq!(delivery.both_ways(), Some(1000));
    }

    #[test]
    fn the_worse_a_link_the_more_echoes_are_proof() {
        let needed = |smoothed| Delivery { base: None, smoothed }.echoes_needed();
        assert_eq!([needed(None), needed(Some(1000)), needed(Some(0))], [7, 5, 36]);
        // 30 % lost each way: 0.51 to the power of 16 is below 1 in 30,000.
        assert_eq!(needed(Some(490)), 16);
    }

    #[test]
    fn a_far_peer_has_the_time_to_answer_every_echo() {
        let perfect = Delivery {
            base: None,
            smoothed: Some(1000),
        };
        let near = Round::urgent(&perfect, Some(millis(1)));
        assert_eq!(near.next(near.echoes), millis(40 + 3 * 40 + 100));
        let far = Round::urgent(&perfect, Some(millis(300)));
        assert_eq!([far.next(0), far.next(1), far.next(2)], [0, 395, 435].map(millis));
        assert!(far.next(far.echoes) - far.next(far.echoes - 1) >= millis(450));
        let calm = Round::calm(&perfect, Some(millis(1)));
        assert!(calm.next(calm.echoes) > millis(700));
    }
}
