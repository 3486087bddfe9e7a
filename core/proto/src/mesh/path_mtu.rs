//! How large packets may be on a way: the state of one search, without knowing what it is about.
//!
//! A way is believed to carry the largest size of its [`LADDER`](LINK_SIZES) as soon as it is there, for as long as
//! the first answers take: hosts remember for ten minutes that a packet was too big, and what is too large for
//! the way only gets there in fragments meanwhile. The first volley asks for that size alone; unanswered, the next
//! ones ask for all sizes at once, and the largest that is answered counts. After the second the hope is over:
//! without any answer the MTU is [`MIN_MTU`], which needs no proof.
//!
//! Nothing is asked before packets pass for which it matters. A size that was answered is confirmed now and then, and at once when something says that the way has changed
//! or that large packets vanish ([`PathMtu::recheck`]). The last of the questions asks for the smaller sizes too, so that
//! the MTU falls to what passes and no host is told less; where nothing does, to the smallest, and the search begins
//! anew. Silence about sizes means nothing on a way from which nothing at all comes: each question is accompanied by
//! a small one ([`SMALL`]), which is answered where anything is, and as long as nothing comes that one is repeated alone.

use crate::{
    Duration, Instant,
    relay::HEADER,
    snapshot::{MAX_MTU, MIN_MTU},
};

/// Inner packets that tunnels are asked for, in octets: what fits 1500 octets over IPv6 with WireGuard's 80, then
/// what PPPoE, DS-Lite and 6in4 leave (1480 and 1492), what GRE and clouds leave (1460 and 1476), and mobile
/// networks (1420).
pub const LINK_SIZES: [u16; 4] = [MAX_MTU, 1400, 1380, 1340];
/// The same in relay frames.
pub const SESSION_SIZES: [u16; 4] = {
    const H: u16 = HEADER as u16;
    [MAX_MTU - H, 1400 - H, 1380 - H, 1340 - H]
};

/// A packet that is no larger than its message.
pub const SMALL: u16 = 0;

/// A size that was answered is asked for again after this, and as much more as the nonce says.
const CONFIRM: Duration = Duration::from_secs(540);
const SPREAD: u64 = 120;
/// Where nothing larger passes, the pauses double up to so many times.
const MOST_DOUBLED: u32 = 3;
/// Volleys of a search; probes of a confirmation.
const VOLLEYS: u32 = 3;
const PROBES: u32 = 4;
/// A hint that large packets vanish makes us ask at most this often, at first; the pause doubles each time that it
/// was nothing.
const HINT_GAP: Duration = Duration::from_secs(10);
const LONGEST_HINT_GAP: Duration = Duration::from_secs(160);
/// Changes of the way make us ask at most this often.
const CHANGE_GAP: Duration = Duration::from_secs(1);
/// When routes move or links come back, more changes follow: this long after the last one, at most so often.
const SETTLE: Duration = Duration::from_secs(30);
const SETTLE_GAP: Duration = Duration::from_secs(120);
/// While nothing at all comes, so often only the small question is repeated before the round is given up, each time
/// after a longer pause.
const SILENT_ASKS: u32 = 4;

/// Why sizes are to be asked for again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The way is another one, or may be.
    Changed,
    /// It may be, and nothing is lost if that is found out a little later.
    Settling,
    /// Large packets seem to vanish.
    Hint,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Rest,
    /// Volleys sent.
    Search(u32),
    /// Probes sent.
    Confirm(u32),
}

/// One way's state. Feed it [`PathMtu::start`], [`PathMtu::recheck`], [`PathMtu::acked`], and call
/// [`PathMtu::step`] at [`PathMtu::due`].
#[derive(Clone, Debug)]
pub struct PathMtu {
    sizes: [u16; 4],
    phase: Phase,
    /// The largest size that was answered.
    confirmed: Option<u16>,
    /// A smaller one that was answered while that was not.
    fallback: Option<u16>,
    /// Nothing is known yet, and the largest size is let through.
    hopeful: bool,
    /// Names the round: answers to earlier ones mean nothing.
    nonce: u64,
    /// Largest size asked for in this round.
    asked: u16,
    /// Packets have passed for which it matters, since the last round.
    used: bool,
    began: Instant,
    due: Option<Instant>,
    failures: u32,
    silent_asks: u32,
    hint_gap: Duration,
}

impl PathMtu {
    /// Asks nothing until [`PathMtu::start`]. `sizes` fall.
    pub fn new(sizes: [u16; 4]) -> Self {
        Self {
            sizes,
            phase: Phase::Rest,
            confirmed: None,
            fallback: None,
            hopeful: false,
            nonce: 0,
            asked: 0,
            used: false,
            began: Instant::ZERO,
            due: None,
            failures: 0,
            silent_asks: 0,
            hint_gap: HINT_GAP,
        }
    }

    /// The way is there, and nothing is known about it.
    pub fn start(&mut self, nonce: u64, now: Instant) {
        *self = Self::new(self.sizes);
        self.hopeful = true;
        self.nonce = nonce;
        self.begin(Phase::Search(0), now);
        self.due = Some(now);
    }

    /// Whether [`PathMtu::start`] was called.
    pub fn is_started(&self) -> bool {
        self.due.is_some()
    }

    /// Octets that packets may have now.
    pub fn mtu(&self) -> u16 {
        if self.hopeful {
            self.sizes[0]
        } else {
            self.confirmed.unwrap_or(MIN_MTU)
        }
    }

    pub fn nonce(&self) -> u64 {
        self.nonce
    }

    /// Packets pass for which it matters.
    pub fn large_passes(&mut self) {
        self.used = true;
    }

    /// Whether a round need not begin before [`PathMtu::large_passes`].
    pub fn is_unused(&self) -> bool {
        !self.used && (self.phase == Phase::Rest || self.asked == 0)
    }

    /// When to call [`PathMtu::step`].
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Asks again, soon.
    pub fn recheck(&mut self, reason: Reason, now: Instant) {
        let Some(due) = self.due else { return };
        let at = match reason {
            Reason::Changed => now.max(self.began + CHANGE_GAP),
            Reason::Settling => (now + SETTLE).max(self.began + SETTLE_GAP),
            Reason::Hint => now.max(self.began + self.hint_gap),
        };
        match (self.phase, reason) {
            // The first volley has hardly left.
            (Phase::Search(_), _) if self.hopeful => {}
            // What was due while nobody could be asked waits as well.
            (Phase::Rest, _) => self.due = Some(if due < now { at } else { due.min(at) }),
            // Something is sent there again.
            (Phase::Search(_) | Phase::Confirm(_), Reason::Hint) if self.silent_asks > 0 => {
                self.due = Some(due.min(at));
            }
            // A round that is under way will tell what it is asked for, unless the way has changed meanwhile.
            (Phase::Search(_) | Phase::Confirm(_), Reason::Hint) => {}
            (Phase::Search(_) | Phase::Confirm(_), Reason::Changed | Reason::Settling) => {
                self.phase = Phase::Rest;
                self.due = Some(at);
            }
        }
    }

    /// Sizes to be asked for now. `wait`: how long an answer may well take; `heard`: when anything last came from
    /// the other end.
    pub fn step(&mut self, wait: Duration, heard: Instant, now: Instant) -> Vec<u16> {
        if self.is_unused() || self.due.is_none_or(|due| due > now) {
            return Vec::new();
        }
        let from_rest = self.phase == Phase::Rest;
        if from_rest {
            self.begin(self.first_phase(), now);
        }
        // The first volley of a round is sent on trust.
        let is_silent = heard < self.began && self.asked > 0;
        if is_silent {
            return self.ask_whether_there_is_anyone(wait, now);
        }
        self.silent_asks = 0;
        match self.phase {
            Phase::Search(VOLLEYS) => {
                self.hopeful = false;
                self.rest(self.failures + 1, now);
                return Vec::new();
            }
            Phase::Confirm(PROBES) => {
                self.confirmed = self.fallback;
                self.hint_gap = HINT_GAP;
                if self.confirmed.is_some() {
                    self.rest(0, now);
                    return Vec::new();
                }
                self.begin(Phase::Search(1), now);
            }
            // The first two volleys are not answered, but something else came.
            Phase::Search(sent) if sent >= 2 => self.hopeful = false,
            Phase::Search(_) | Phase::Confirm(_) | Phase::Rest => {}
        }
        self.ask(wait, from_rest, now)
    }

    /// The small question alone; after the last one the round is over, and what was known stays so: a way from which
    /// nothing comes is looked at again when it is another one, or when something comes but large packets vanish.
    fn ask_whether_there_is_anyone(&mut self, wait: Duration, now: Instant) -> Vec<u16> {
        if self.silent_asks == SILENT_ASKS {
            self.hopeful = false;
            self.rest(self.failures + 1, now);
            return Vec::new();
        }
        self.silent_asks += 1;
        self.due = Some(now + wait * 2u32.pow(self.silent_asks));
        vec![SMALL]
    }

    /// The next volley.
    fn ask(&mut self, wait: Duration, with_larger: bool, now: Instant) -> Vec<u16> {
        let confirmed = self.confirmed.unwrap_or(0);
        let (sizes, pause): (Vec<u16>, _) = match self.phase {
            Phase::Search(0) => {
                self.phase = Phase::Search(1);
                (vec![self.sizes[0]], wait)
            }
            Phase::Search(sent) => {
                self.phase = Phase::Search(sent + 1);
                let larger = self.sizes.into_iter().filter(|size| *size > confirmed);
                (larger.collect(), wait * 2)
            }
            Phase::Confirm(sent) => {
                self.phase = Phase::Confirm(sent + 1);
                let asked = self.sizes.into_iter().filter(|size| {
                    // Now and then the larger ones too: the way may have got wider.
                    *size == confirmed
                        || with_larger && *size > confirmed
                        || sent + 1 == PROBES && *size < confirmed
                });
                (asked.collect(), if sent + 1 == PROBES { wait * 2 } else { wait })
            }
            Phase::Rest => return Vec::new(),
        };
        self.asked = sizes.iter().copied().fold(self.asked, u16::max);
        self.due = Some(now + pause);
        sizes.into_iter().chain([SMALL]).collect()
    }

    /// The other end got a packet of this size. Whether it was asked for.
    pub fn acked(&mut self, nonce: u64, size: u16, now: Instant) -> bool {
        if nonce == self.nonce && size == SMALL {
            return true;
        }
        if nonce != self.nonce || size > self.asked || !self.sizes.contains(&size) {
            return false;
        }
        let before = self.confirmed;
        if matches!(self.phase, Phase::Confirm(_)) && before.is_some_and(|known| size < known) {
            self.fallback = self.fallback.max(Some(size));
            return true;
        }
        self.hopeful = false;
        self.confirmed = Some(before.map_or(size, |known| known.max(size)));
        match self.phase {
            Phase::Confirm(_) if before.is_some_and(|known| size >= known) => {
                self.hint_gap = (self.hint_gap * 2).min(LONGEST_HINT_GAP);
                self.rest(0, now);
            }
            Phase::Search(_) if size == self.sizes[0] => self.rest(0, now),
            Phase::Search(_) | Phase::Confirm(_) | Phase::Rest => {}
        }
        true
    }

    fn first_phase(&self) -> Phase {
        match self.confirmed {
            Some(_) => Phase::Confirm(0),
            None => Phase::Search(1),
        }
    }

    fn begin(&mut self, phase: Phase, now: Instant) {
        self.phase = phase;
        self.nonce = self.nonce.wrapping_add(1);
        self.asked = 0;
        self.fallback = None;
        self.silent_asks = 0;
        self.began = now;
    }

    fn rest(&mut self, failures: u32, now: Instant) {
        self.phase = Phase::Rest;
        self.used = false;
        self.failures = if self.confirmed.is_some() { 0 } else { failures };
        let pause = CONFIRM + Duration::from_secs(self.nonce % SPREAD);
        self.due = Some(now + pause * 2u32.pow(self.failures.min(MOST_DOUBLED)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_millis(300);

    /// A way that carries packets up to `passes` octets; `None`: the other end knows no probes.
    struct Way {
        mtu: PathMtu,
        now: Instant,
        passes: Option<u16>,
        /// Answers to be lost.
        lose: u32,
        /// Nothing at all comes from the other end.
        silent: bool,
        heard: Instant,
        octets: u64,
        /// Least MTU seen after a step.
        least: u16,
    }

    impl Way {
        fn new(passes: Option<u16>) -> Self {
            let now = Instant::from_micros(1_000_000);
            let mut mtu = PathMtu::new(LINK_SIZES);
            mtu.start(77, now);
            Self {
                mtu,
                now,
                passes,
                lose: 0,
                silent: false,
                heard: now,
                octets: 0,
                least: u16::MAX,
            }
        }

        fn run(&mut self, time: Duration) {
            let end = self.now + time;
            while let Some(due) = self.mtu.due().filter(|due| *due <= end) {
                self.now = self.now.max(due);
                if !self.silent {
                    self.heard = self.now;
                }
                self.mtu.large_passes();
                let sizes = self.mtu.step(WAIT, self.heard, self.now);
                self.octets += sizes.iter().map(|size| u64::from(*size)).sum::<u64>();
                self.least = self.least.min(self.mtu.mtu());
                let nonce = self.mtu.nonce();
                for size in sizes {
                    let lost = self.lose > 0;
                    self.lose = self.lose.saturating_sub(1);
                    if !lost && !self.silent && self.passes.is_some_and(|most| size <= most) {
                        self.mtu.acked(nonce, size, self.now);
                    }
                }
            }
            self.now = end;
        }
    }

    fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn a_wide_way_is_known_by_one_probe() {
        let mut way = Way::new(Some(1500));
        assert_eq!(way.mtu.mtu(), 1420, "large packets are let through at first");
        way.run(secs(60));
        assert_eq!((way.mtu.mtu(), way.octets), (1420, 1420));
    }

    #[test]
    fn nothing_is_asked_before_it_matters() {
        let mut way = Way::new(Some(1380));
        assert!(way.mtu.is_unused());
        assert_eq!(way.mtu.step(WAIT, way.now, way.now), []);
        way.run(secs(10));
        assert_eq!(way.mtu.mtu(), 1380);
        assert!(way.mtu.is_unused(), "until large packets pass again");
        let much_later = way.now + secs(10_000);
        assert_eq!(way.mtu.step(WAIT, much_later, much_later), []);
        way.mtu.large_passes();
        assert_eq!(
            way.mtu.step(WAIT, much_later, much_later),
            [1420, 1400, 1380, SMALL]
        );
    }

    #[test]
    fn the_largest_size_that_passes_is_found() {
        for (passes, mtu) in [
            (1420, 1420),
            (1412, 1400),
            (1396, 1380),
            (1370, 1340),
            (1340, 1340),
            (1339, 1280),
        ] {
            let mut way = Way::new(Some(passes));
            way.run(secs(1));
            assert_eq!(way.mtu.mtu(), mtu, "of {passes}");
            way.run(secs(5));
            assert_eq!(way.mtu.mtu(), mtu, "of {passes}");
        }
    }

    #[test]
    fn lost_answers_are_made_up_for_before_the_hope_is_over() {
        let mut way = Way::new(Some(1500));
        way.lose = 2 + 5;
        way.run(millis(899));
        assert_eq!(way.mtu.mtu(), 1420);
        way.run(secs(1));
        assert_eq!(way.mtu.mtu(), 1420);
        assert_eq!(way.lose, 0);
    }

    fn millis(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn an_old_neighbour_gets_the_smallest_packets_and_few_probes() {
        let mut way = Way::new(None);
        way.run(secs(2));
        assert_eq!(way.mtu.mtu(), 1280);
        let first = way.octets;
        assert!(first <= 1420 + 2 * 5540, "{first}");
        way.run(secs(24 * 3600));
        let later = (way.octets - first) / (24 * 3600);
        assert!(later <= 5, "{later} octets a second");
        assert_eq!(way.mtu.mtu(), 1280);
    }

    #[test]
    fn confirming_costs_little() {
        let mut way = Way::new(Some(1500));
        way.run(secs(24 * 3600));
        assert!(way.octets / (24 * 3600) <= 3, "{}", way.octets);
        assert_eq!(way.mtu.mtu(), 1420);
    }

    #[test]
    fn a_way_that_gets_narrower_is_noticed_at_the_next_confirmation_and_a_wider_one_too() {
        let mut way = Way::new(Some(1500));
        way.run(secs(60));
        way.passes = Some(1385);
        way.run(secs(700));
        assert_eq!((way.mtu.mtu(), way.least), (1380, 1380), "nobody is told less");
        way.passes = Some(1500);
        way.run(secs(700));
        assert_eq!(way.mtu.mtu(), 1420);
    }

    #[test]
    fn a_hint_finds_a_black_hole_within_two_seconds() {
        let mut way = Way::new(Some(1500));
        way.run(secs(60));
        way.passes = Some(1300);
        way.mtu.recheck(Reason::Hint, way.now);
        way.run(millis(1400));
        assert_eq!(way.mtu.mtu(), 1420, "a few losses in a row are no proof");
        way.run(millis(200));
        assert_eq!(way.mtu.mtu(), 1280);
    }

    #[test]
    fn hints_that_were_nothing_are_heeded_less_and_less() {
        let mut way = Way::new(Some(1500));
        way.run(secs(60));
        let before = way.octets;
        for _ in 0..400 {
            way.mtu.recheck(Reason::Hint, way.now);
            way.run(secs(1));
        }
        let probes = (way.octets - before) / 1420;
        assert!((4..=8).contains(&probes), "{probes} probes");
    }

    #[test]
    fn a_change_of_the_way_is_looked_at_once_and_never_more_often_than_each_second() {
        let mut way = Way::new(Some(1500));
        way.run(secs(60));
        let before = way.octets;
        way.mtu.recheck(Reason::Changed, way.now);
        way.run(Duration::ZERO);
        assert_eq!(way.octets - before, 1420);
        for _ in 0..100 {
            way.mtu.recheck(Reason::Changed, way.now);
            way.run(millis(100));
        }
        let probes = (way.octets - before) / 1420;
        assert!((9..=12).contains(&probes), "{probes} probes");
    }

    #[test]
    fn routes_that_move_to_and_fro_are_waited_for() {
        let mut way = Way::new(Some(1500));
        way.run(secs(60));
        let before = way.octets;
        for _ in 0..20 {
            way.mtu.recheck(Reason::Settling, way.now);
            way.run(millis(100));
        }
        way.run(SETTLE_GAP);
        assert_eq!(way.octets - before, 1420);
    }

    #[test]
    fn silence_of_everything_says_nothing_about_sizes() {
        let mut way = Way::new(Some(1500));
        way.run(secs(60));
        way.silent = true;
        way.mtu.recheck(Reason::Changed, way.now);
        way.run(secs(5));
        assert_eq!(way.mtu.mtu(), 1420);
        way.silent = false;
        way.run(secs(5));
        assert_eq!(way.mtu.mtu(), 1420);
    }

    #[test]
    fn a_way_from_which_nothing_comes_costs_one_large_packet() {
        for reason in [Reason::Changed, Reason::Settling, Reason::Hint] {
            let mut way = Way::new(Some(1500));
            way.run(secs(60));
            let before = way.octets;
            way.silent = true;
            way.mtu.recheck(reason, way.now);
            way.run(secs(300));
            assert_eq!(way.octets - before, 1420, "{reason:?}");
        }
    }

    #[test]
    fn a_round_goes_on_where_silence_interrupted_it() {
        let mut way = Way::new(Some(1500));
        way.run(secs(60));
        way.passes = Some(1390);
        way.silent = true;
        way.mtu.recheck(Reason::Changed, way.now);
        way.run(secs(4));
        assert_eq!(way.mtu.mtu(), 1420);
        way.silent = false;
        way.run(secs(5));
        assert_eq!(way.mtu.mtu(), 1380);
    }

    #[test]
    fn answers_that_were_not_asked_for_mean_nothing() {
        let mut way = Way::new(Some(1300));
        way.run(secs(10));
        assert_eq!(way.mtu.mtu(), 1280);
        let (nonce, now) = (way.mtu.nonce(), way.now);
        assert!(
            !way.mtu.acked(nonce.wrapping_sub(1), 1420, now),
            "of another round"
        );
        assert!(
            !way.mtu.acked(nonce, 1390, now),
            "a size of the other end's making"
        );
        assert_eq!(way.mtu.mtu(), 1280);
        let mut confirming = Way::new(Some(1385));
        confirming.run(secs(60));
        confirming.mtu.recheck(Reason::Changed, confirming.now);
        confirming.passes = Some(1340);
        confirming.run(secs(5));
        assert_eq!(confirming.mtu.mtu(), 1340);
    }

    #[test]
    fn sizes_fit_what_they_are_made_for() {
        assert!(LINK_SIZES.is_sorted_by(|a, b| a > b) && SESSION_SIZES.is_sorted_by(|a, b| a > b));
        assert!(SESSION_SIZES[3] > MIN_MTU);
        // IPv6, UDP, WireGuard.
        assert_eq!(LINK_SIZES[0] + 40 + 8 + 32, 1500);
    }
}
