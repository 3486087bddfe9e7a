//! All prefixes: found by a hash, walked by number, and woken when something about one is due.
//!
//! An [`Entry`] has a [`Slot`], a number that it keeps while it lives; sets of prefixes and alarms name slots,
//! which are small. The hash depends on a seed of the owner's, so that nobody can choose prefixes which
//! collide, and the same inputs still give the same outputs: nothing iterates in the order of the hash.

use crate::entry::{Entry, Key};
use crate::{Instant, IpNet};
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use hashbrown::HashTable;
use std::collections::BTreeSet;

/// Where an entry is, until it is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Slot(u32);

impl Slot {
    pub(crate) const FIRST: Self = Self(0);
}

/// What of an entry needs a look. The order breaks ties.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Alarm {
    /// Routes, sources, hold time and pending switch.
    Expiry,
    /// Seqno requests.
    Request,
}

#[derive(Debug)]
struct Place {
    key: Key,
    /// When each [`Alarm`] rings; [`NEVER`] if not.
    alarms: [Instant; 2],
    /// `None`: free.
    entry: Option<Entry>,
}

const NEVER: Instant = Instant::from_micros(u64::MAX);

#[derive(Debug)]
pub(crate) struct Table {
    hasher: Hasher,
    index: HashTable<u32>,
    places: Vec<Place>,
    free: Vec<u32>,
    alarms: BTreeSet<(Instant, Alarm, u32)>,
    /// Where the last look-up ended: a guess that is checked, so it changes nothing but time. Atomic only
    /// because looking up does not need the table for itself alone.
    recent: AtomicU32,
}

impl Table {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            hasher: Hasher::new(seed),
            index: HashTable::new(),
            places: Vec::new(),
            free: Vec::new(),
            alarms: BTreeSet::new(),
            recent: AtomicU32::new(0),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    /// Looks first where the last look-up ended, and one further: work on a prefix looks it up several times,
    /// tables are announced again in the order in which they were learnt, and what lies next in memory is
    /// cheaper to reach than by a hash.
    pub(crate) fn slot(&self, key: &Key) -> Option<Slot> {
        let recent = self.recent.load(Relaxed);
        let is_here = |place: u32| {
            let place = self.places.get(place as usize);
            place.is_some_and(|place| place.key == *key && place.entry.is_some())
        };
        let found = [recent, recent.wrapping_add(1)]
            .into_iter()
            .find(|&guess| is_here(guess))
            .or_else(|| {
                let same = |&place: &u32| self.places.get(place as usize).is_some_and(|p| p.key == *key);
                self.index.find(self.hasher.hash(key), same).copied()
            })?;
        self.recent.store(found, Relaxed);
        Some(Slot(found))
    }

    pub(crate) fn contains_key(&self, key: &Key) -> bool {
        self.slot(key).is_some()
    }

    pub(crate) fn at(&self, slot: Slot) -> Option<&Entry> {
        self.places.get(slot.0 as usize)?.entry.as_ref()
    }

    pub(crate) fn at_mut(&mut self, slot: Slot) -> Option<&mut Entry> {
        self.places.get_mut(slot.0 as usize)?.entry.as_mut()
    }

    pub(crate) fn get(&self, key: &Key) -> Option<&Entry> {
        self.at(self.slot(key)?)
    }

    pub(crate) fn get_mut(&mut self, key: &Key) -> Option<&mut Entry> {
        self.at_mut(self.slot(key)?)
    }

    /// The slot of a prefix, new if need be.
    pub(crate) fn slot_or_new(&mut self, key: Key) -> Slot {
        if let Some(slot) = self.slot(&key) {
            return slot;
        }
        let place = Place {
            key,
            alarms: [NEVER; 2],
            entry: Some(Entry::new()),
        };
        let number = match self.free.pop() {
            Some(number) => {
                self.places[number as usize] = place;
                number
            }
            None => {
                self.places.push(place);
                // `Limits::prefixes` and memory end long before.
                (self.places.len() - 1) as u32
            }
        };
        let (hasher, places) = (&self.hasher, &self.places);
        self.index.insert_unique(hasher.hash(&key), number, |&other| {
            hasher.hash(&places[other as usize].key)
        });
        Slot(number)
    }

    /// The entry of a prefix, new if need be.
    pub(crate) fn get_or_new(&mut self, key: Key) -> Option<&mut Entry> {
        let slot = self.slot_or_new(key);
        self.at_mut(slot)
    }

    /// Removes an entry with its alarms. No set may name its slot any more.
    pub(crate) fn remove(&mut self, key: &Key) {
        let Some(Slot(number)) = self.slot(key) else {
            return;
        };
        for alarm in [Alarm::Expiry, Alarm::Request] {
            self.disarm(number, alarm);
        }
        if let Ok(found) = self
            .index
            .find_entry(self.hasher.hash(key), |&place| place == number)
        {
            found.remove();
        }
        if let Some(place) = self.places.get_mut(number as usize) {
            place.entry = None;
            self.free.push(number);
        }
    }

    /// In order, which it takes time to find.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Key, &Entry)> {
        let mut all: Vec<_> = self
            .from(Slot::FIRST)
            .map(|(_, key, entry)| (key, entry))
            .collect();
        all.sort_unstable_by_key(|(key, _)| **key);
        all.into_iter()
    }

    /// In order.
    pub(crate) fn keys(&self) -> Vec<Key> {
        let mut keys: Vec<Key> = self.from(Slot::FIRST).map(|(_, key, _)| *key).collect();
        keys.sort_unstable();
        keys
    }

    /// From a slot on, in the order of slots: a walk that can be interrupted. It misses what is added
    /// meanwhile in a slot that it has passed.
    pub(crate) fn from(&self, first: Slot) -> impl Iterator<Item = (Slot, &Key, &Entry)> {
        let places = self.places.iter().zip(0u32..).skip(first.0 as usize);
        places.filter_map(|(place, number)| Some((Slot(number), &place.key, place.entry.as_ref()?)))
    }

    /// In the order of slots.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (&Key, &mut Entry)> {
        self.places
            .iter_mut()
            .filter_map(|place| Some((&place.key, place.entry.as_mut()?)))
    }

    /// The prefixes of a set, in order.
    pub(crate) fn keys_of(&self, slots: &SlotSet) -> Vec<Key> {
        let places = slots.iter().filter_map(|slot| self.places.get(slot.0 as usize));
        let mut keys: Vec<Key> = places.map(|place| place.key).collect();
        keys.sort_unstable();
        keys
    }

    /// Lets an alarm ring no later than `at`; one that rings earlier stays.
    pub(crate) fn ring_by(&mut self, slot: Slot, alarm: Alarm, at: Instant) {
        let Some(place) = self.places.get_mut(slot.0 as usize) else {
            return;
        };
        let armed = &mut place.alarms[alarm as usize];
        if at < *armed {
            let old = core::mem::replace(armed, at);
            if old != NEVER {
                self.alarms.remove(&(old, alarm, slot.0));
            }
            self.alarms.insert((at, alarm, slot.0));
        }
    }

    /// The same by prefix; nothing when there is no such entry.
    pub(crate) fn ring_key_by(&mut self, key: &Key, alarm: Alarm, at: Instant) {
        if let Some(slot) = self.slot(key) {
            self.ring_by(slot, alarm, at);
        }
    }

    fn disarm(&mut self, number: u32, alarm: Alarm) {
        if let Some(place) = self.places.get_mut(number as usize) {
            let old = core::mem::replace(&mut place.alarms[alarm as usize], NEVER);
            if old != NEVER {
                self.alarms.remove(&(old, alarm, number));
            }
        }
    }

    /// The alarm that rings first.
    pub(crate) fn first_alarm(&self) -> Option<(Instant, Alarm)> {
        self.alarms.first().map(|&(at, alarm, _)| (at, alarm))
    }

    /// Takes the first alarm if it is due.
    pub(crate) fn pop_alarm(&mut self, now: Instant) -> Option<(Alarm, Key)> {
        let &(at, alarm, number) = self.alarms.first()?;
        if at > now {
            return None;
        }
        self.disarm(number, alarm);
        Some((alarm, self.places.get(number as usize)?.key))
    }

    /// Takes out every [`Alarm::Expiry`] that is due.
    pub(crate) fn due_expiries(&mut self, now: Instant) -> Vec<Key> {
        let due = self.alarms.iter().take_while(|(at, ..)| *at <= now);
        let due = due.filter(|(_, alarm, _)| *alarm == Alarm::Expiry);
        let numbers: Vec<u32> = due.map(|(.., number)| *number).collect();
        let mut keys = Vec::new();
        for number in numbers {
            self.disarm(number, Alarm::Expiry);
            keys.extend(self.places.get(number as usize).map(|place| place.key));
        }
        keys
    }
}

/// A set of slots: a bit for each up to the highest.
#[derive(Clone, Debug, Default)]
pub(crate) struct SlotSet {
    words: Vec<u64>,
    len: usize,
}

impl SlotSet {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn contains(&self, slot: Slot) -> bool {
        let (word, bit) = (slot.0 as usize / 64, slot.0 % 64);
        self.words.get(word).is_some_and(|word| word >> bit & 1 == 1)
    }

    pub(crate) fn insert(&mut self, slot: Slot) {
        let (word, bit) = (slot.0 as usize / 64, slot.0 % 64);
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        self.len += usize::from(self.words[word] >> bit & 1 == 0);
        self.words[word] |= 1 << bit;
    }

    pub(crate) fn remove(&mut self, slot: Slot) {
        if self.contains(slot) {
            self.words[slot.0 as usize / 64] &= !(1 << (slot.0 % 64));
            self.len -= 1;
        }
        if self.len == 0 {
            self.words = Vec::new();
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Slot> + '_ {
        self.words.iter().zip(0u32..).flat_map(|(&word, number)| {
            let mut rest = word;
            core::iter::from_fn(move || {
                let bit = (rest != 0).then(|| rest.trailing_zeros())?;
                rest &= rest - 1;
                Some(Slot(number * 64 + bit))
            })
        })
    }
}

/// Multiply and fold, keyed by a seed.
#[derive(Debug)]
struct Hasher([u64; 3]);

impl Hasher {
    fn new(seed: u64) -> Self {
        let mut rng = crate::rng::Rng::new(seed ^ 0x7461_626c_6500_0000);
        Self([(); 3].map(|()| rng.next() | 1))
    }

    fn hash(&self, key: &Key) -> u64 {
        let prefix = self.net(self.0[2], &key.prefix);
        key.source.map_or(prefix, |source| self.net(prefix, &source))
    }

    fn net(&self, start: u64, net: &IpNet) -> u64 {
        let [a, b, _] = self.0;
        let (high, low) = match net {
            IpNet::V4(net) => (1, u64::from(net.addr().to_bits())),
            IpNet::V6(net) => {
                let bits = net.addr().to_bits();
                ((bits >> 64) as u64, bits as u64)
            }
        };
        let folded = fold(high ^ a, low ^ b);
        fold(folded ^ start, b ^ u64::from(net.prefix_len()))
    }
}

fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product >> 64) as u64 ^ product as u64
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn key(n: u16) -> Key {
        let prefix: IpNet = format!("fd00:0:0:{n:x}::/64").parse().unwrap();
        Key::new(prefix).unwrap()
    }

    fn at(micros: u64) -> Instant {
        Instant::from_micros(micros)
    }

    #[test]
    fn entries_are_found_and_listed_in_order() {
        let mut table = Table::new(1);
        for n in (0..1000).rev() {
            table.get_or_new(key(n)).unwrap().own = Some(n);
        }
        for n in (0..1000).step_by(3) {
            table.remove(&key(n));
        }
        assert_eq!(table.len(), 666);
        assert!((0..1000).all(|n| table.get(&key(n)).is_some_and(|e| e.own == Some(n)) == (n % 3 != 0)));
        let expected: Vec<Key> = (0..1000).filter(|n| n % 3 != 0).map(key).collect();
        assert_eq!(table.keys(), expected);
        assert!(table.iter().map(|(key, _)| *key).eq(expected));
        let middle = table.slot(&key(500)).unwrap();
        let rest: Vec<Key> = table.from(middle).map(|(_, key, _)| *key).collect();
        assert_eq!((rest.first(), rest.len()), (Some(&key(500)), 334));
    }

    #[test]
    fn a_removed_entry_leaves_no_alarm() {
        let mut table = Table::new(1);
        let slot = table.slot_or_new(key(1));
        table.ring_by(slot, Alarm::Expiry, at(10));
        table.ring_by(slot, Alarm::Request, at(5));
        table.ring_by(slot, Alarm::Expiry, at(20));
        assert_eq!(table.first_alarm(), Some((at(5), Alarm::Request)));
        assert_eq!(table.pop_alarm(at(7)), Some((Alarm::Request, key(1))));
        assert_eq!(table.pop_alarm(at(7)), None);
        assert_eq!(table.first_alarm(), Some((at(10), Alarm::Expiry)));
        table.remove(&key(1));
        assert_eq!(table.first_alarm(), None);
        assert_eq!(table.slot_or_new(key(2)), slot);
        assert_eq!(table.first_alarm(), None);
    }

    #[test]
    fn a_set_counts_and_lists_its_slots() {
        let mut set = SlotSet::default();
        for n in [500, 3, 64, 3, 0] {
            set.insert(Slot(n));
        }
        assert_eq!(set.len(), 4);
        assert!(set.iter().eq([0, 3, 64, 500].map(Slot)));
        set.remove(Slot(64));
        set.remove(Slot(65));
        assert!(set.contains(Slot(3)) && !set.contains(Slot(64)) && set.len() == 3);
        for n in [500, 3, 0] {
            set.remove(Slot(n));
        }
        assert_eq!((set.len(), set.words.capacity()), (0, 0));
    }

    #[test]
    fn prefixes_in_a_row_spread_evenly() {
        let hasher = Hasher::new(7);
        let mut buckets = [0u32; 256];
        for n in 0..25_600 {
            buckets[(hasher.hash(&key(n)) & 0xff) as usize] += 1;
        }
        let (least, most) = (buckets.iter().min().unwrap(), buckets.iter().max().unwrap());
        assert!(*least > 50 && *most < 170, "{least}..{most}");
    }
}
