//! A map whose copies share structure.

use std::sync::Arc;

use rpds::RedBlackTreeMapSync;
use serde::{Deserialize, Serialize};

/// A sorted map of which a copy costs nothing and a change of a copy costs O(log n).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
#[serde(bound(
    serialize = "K: Ord + Serialize, V: Serialize",
    deserialize = "K: Ord + Deserialize<'de>, V: Deserialize<'de>"
))]
pub struct Table<K: Ord, V>(RedBlackTreeMapSync<K, Shared<V>>);

/// A value that copies of a table share.
#[derive(Debug, PartialEq)]
struct Shared<V>(Arc<V>);

impl<V> Clone for Shared<V> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<V: Serialize> Serialize for Shared<V> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Shared<V> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        V::deserialize(deserializer).map(|value| Self(Arc::new(value)))
    }
}

impl<K: Ord, V> Default for Table<K, V> {
    fn default() -> Self {
        Self(RedBlackTreeMapSync::new_sync())
    }
}

impl<K: Ord, V> Table<K, V> {
    /// The value of `key`.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.0.get(key).map(|shared| shared.0.as_ref())
    }

    /// Whether there is a value of `key`.
    pub fn contains(&self, key: &K) -> bool {
        self.0.contains_key(key)
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.0.size()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All keys and values in the order of the keys.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        self.0.iter().map(|(key, shared)| (key, shared.0.as_ref()))
    }

    /// All keys in order.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &K> {
        self.0.keys()
    }

    /// All values in the order of their keys.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &V> {
        self.0.values().map(|shared| shared.0.as_ref())
    }
}

impl<K: Ord + Clone, V> Table<K, V> {
    pub(crate) fn insert(&mut self, key: K, value: V) {
        self.0.insert_mut(key, Shared(Arc::new(value)));
    }

    pub(crate) fn remove(&mut self, key: &K) -> bool {
        self.0.remove_mut(key)
    }

    /// Takes out the smallest keys of values that `may_go` until at most `max` are left, or none may go any more.
    pub(crate) fn keep_newest_but(&mut self, max: usize, may_go: impl Fn(&V) -> bool) {
        let excess = self.len().saturating_sub(max);
        let oldest = self.iter().filter(|(_, value)| may_go(value)).take(excess);
        let gone: Vec<K> = oldest.map(|(key, _)| key.clone()).collect();
        for key in &gone {
            self.remove(key);
        }
    }

    /// Takes out the smallest keys until at most `max` are left.
    pub(crate) fn keep_newest(&mut self, max: usize) {
        self.keep_newest_but(max, |_| true);
    }
}
