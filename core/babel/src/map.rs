//! Small ordered maps: a sorted vector, grown by little. A prefix has a route per neighbour and a source or
//! two; a tree would waste most of each node on that, times the number of prefixes.

use crate::entry::{NeighbourKey, Route};
use core::borrow::Borrow;
use std::sync::Arc;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Map<K, V>(Vec<(K, V)>);

impl<K: Ord, V> Map<K, V> {
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn find<Q: Ord>(&self, key: &Q) -> Result<usize, usize>
    where
        K: Borrow<Q>,
    {
        self.0.binary_search_by(|(k, _)| k.borrow().cmp(key))
    }

    pub(crate) fn get<Q: Ord>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let at = self.find(key).ok()?;
        self.0.get(at).map(|(_, value)| value)
    }

    pub(crate) fn get_mut<Q: Ord>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        let at = self.find(key).ok()?;
        self.0.get_mut(at).map(|(_, value)| value)
    }

    /// The value there was.
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self.find(&key) {
            Ok(at) => Some(core::mem::replace(&mut self.0[at].1, value)),
            Err(at) => {
                if self.0.len() == self.0.capacity() {
                    // Doubling would leave a third unused; one at a time would move all for each.
                    let spare = usize::from(self.0.len() >= 2) + self.0.len() / 12;
                    self.0.reserve_exact(1 + spare);
                }
                self.0.insert(at, (key, value));
                None
            }
        }
    }

    pub(crate) fn remove<Q: Ord>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let at = self.find(key).ok()?;
        let (_, value) = self.0.remove(at);
        if self.0.is_empty() {
            self.0 = Vec::new();
        }
        Some(value)
    }

    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&K, &mut V) -> bool) {
        self.0.retain_mut(|(key, value)| keep(key, value));
        if self.0.is_empty() {
            self.0 = Vec::new();
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.0.iter().map(|(key, value)| (key, value))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (&K, &mut V)> {
        self.0.iter_mut().map(|(key, value)| (&*key, value))
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &K> {
        self.0.iter().map(|(key, _)| key)
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.0.iter().map(|(_, value)| value)
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.0.iter_mut().map(|(_, value)| value)
    }
}

#[cfg(test)]
impl<K: Ord, V> FromIterator<(K, V)> for Map<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let mut map = Self::new();
        for (key, value) in pairs {
            map.insert(key, value);
        }
        map
    }
}

/// The routes of one prefix, by neighbour. All routes of a neighbour share its key, which is larger than the
/// pointer to it.
#[derive(Clone, Debug)]
pub(crate) struct Routes(Map<Arc<NeighbourKey>, Route>);

impl Routes {
    pub(crate) const fn new() -> Self {
        Self(Map::new())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn get(&self, from: &NeighbourKey) -> Option<&Route> {
        self.0.get(from)
    }

    pub(crate) fn get_mut(&mut self, from: &NeighbourKey) -> Option<&mut Route> {
        self.0.get_mut(from)
    }

    /// The route of a neighbour, sought first where its route of another prefix was: mostly all neighbours
    /// announce the same prefixes. `place` is where it is now.
    pub(crate) fn get_mut_near(&mut self, from: &Arc<NeighbourKey>, place: &mut usize) -> Option<&mut Route> {
        let rows = &self.0.0;
        if rows.get(*place).is_none_or(|(key, _)| !Arc::ptr_eq(key, from)) {
            *place = self.0.find(&**from).ok()?;
        }
        self.0.0.get_mut(*place).map(|(_, route)| route)
    }

    pub(crate) fn insert(&mut self, from: &Arc<NeighbourKey>, route: Route) {
        self.0.insert(from.clone(), route);
    }

    pub(crate) fn remove(&mut self, from: &NeighbourKey) {
        self.0.remove(from);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&NeighbourKey, &Route)> {
        self.0.iter().map(|(key, route)| (&**key, route))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (&NeighbourKey, &mut Route)> {
        self.0.iter_mut().map(|(key, route)| (&**key, route))
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &NeighbourKey> {
        self.0.keys().map(|key| &**key)
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &Route> {
        self.0.values()
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut Route> {
        self.0.values_mut()
    }
}

#[cfg(test)]
impl FromIterator<(NeighbourKey, Route)> for Routes {
    fn from_iter<I: IntoIterator<Item = (NeighbourKey, Route)>>(pairs: I) -> Self {
        Self(
            pairs
                .into_iter()
                .map(|(key, route)| (Arc::new(key), route))
                .collect(),
        )
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn it_is_an_ordered_map(steps in prop::collection::vec((0u8..20, any::<Option<u8>>()), 0..200)) {
            let (mut map, mut model) = (Map::new(), BTreeMap::new());
            for (key, value) in steps {
                match value {
                    Some(value) => prop_assert_eq!(map.insert(key, value), model.insert(key, value)),
                    None => prop_assert_eq!(map.remove(&key), model.remove(&key)),
                }
                prop_assert!(map.iter().eq(model.iter()));
                prop_assert_eq!(map.get(&key), model.get(&key));
            }
        }
    }
}
