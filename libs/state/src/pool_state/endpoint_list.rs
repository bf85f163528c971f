//! The endpoints of a pool, ordered by key, in chunks that versions of the list share.

use std::fmt;
use std::ops::Index;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use signalbox_types::EndpointKey;

use super::endpoint_state::EndpointState;

/// Number of endpoints in every chunk but the last. A change copies the pointers of one chunk and those to all chunks.
const CHUNK: usize = 32;

/// How far from where it is expected a key is searched first: 99 % of 10,000 keys, and 94 % of 100,000, are at most so far
/// from there.
const REACH: usize = 16;

/// Only the last chunk has places without an endpoint, at its end. The length is fixed, so that reading an endpoint costs
/// one pointer more than in a plain slice, and no second length.
type Chunk = [Option<Arc<EndpointState>>; CHUNK];

/// The endpoints of a pool, ordered by key. A copy costs nothing; after that, changing one endpoint copies one chunk.
/// So a view that is taken of it costs what has changed since the one before.
#[derive(Clone, Default)]
pub struct EndpointList {
    keys: Arc<Vec<EndpointKey>>,
    chunks: Arc<[Arc<Chunk>]>,
}

impl EndpointList {
    /// Returns the number of endpoints.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Returns whether there are no endpoints.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Returns the endpoints, ordered by key.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Arc<EndpointState>> + ExactSizeIterator + Clone {
        Iter { states: self.chunks.iter().flat_map(|chunk| chunk.iter().flatten()), left: self.len() }
    }

    /// Returns the endpoints after this key, ordered by key; all if it is `None`.
    pub fn after(&self, last: Option<EndpointKey>) -> impl Iterator<Item = &Arc<EndpointState>> {
        let position = self.keys.partition_point(|key| Some(*key) <= last);
        (position..self.len()).map(|position| &self[position])
    }

    /// Returns the position of an endpoint.
    pub fn position(&self, endpoint: EndpointKey) -> Option<usize> {
        // Keys are hashes: each is near the position in proportion to its value, and nearer to the position in proportion to
        // its distance from the key there.
        let keys = &self.keys[..];
        let expected = |distance: u64| ((u128::from(distance) * keys.len() as u128) >> u64::BITS) as usize;
        let near = expected(endpoint.0);
        let there = keys.get(near)?;
        let nearer = if *there <= endpoint {
            near + expected(endpoint.0 - there.0)
        } else {
            near.saturating_sub(expected(there.0 - endpoint.0))
        };
        let from = nearer.saturating_sub(REACH);
        let found = keys[from.min(keys.len())..keys.len().min(nearer + REACH)].binary_search(&endpoint);
        found.map(|at| from + at).or_else(|_| keys.binary_search(&endpoint)).ok()
    }

    /// Returns the state of an endpoint.
    pub fn get(&self, endpoint: EndpointKey) -> Option<&Arc<EndpointState>> {
        self.position(endpoint).map(|position| &self[position])
    }

    /// Returns whether the keys are the same as those of `other`. Costs nothing if no endpoint was added or removed
    /// between the two.
    pub fn has_same_keys(&self, other: &Self) -> bool {
        self.keys == other.keys
    }

    /// Returns the positions at which the state differs from that of `before`, which has the same keys, with the
    /// states before and now. Skips the chunks that both share.
    pub fn changed_since<'a>(
        &'a self,
        before: &'a Self,
    ) -> impl Iterator<Item = (usize, &'a Arc<EndpointState>, &'a Arc<EndpointState>)> {
        let chunks = before.chunks.iter().zip(self.chunks.iter()).enumerate();
        let changed = chunks.filter(|(_, (before, now))| !Arc::ptr_eq(before, now));
        changed.flat_map(|(chunk, (before, now))| {
            let states = before.iter().flatten().zip(now.iter().flatten()).enumerate();
            let changed = states.filter(|(_, (before, now))| !Arc::ptr_eq(before, now));
            changed.map(move |(at, (before, now))| (chunk * CHUNK + at, before, now))
        })
    }

    /// Returns the state of an endpoint to change it.
    pub(super) fn get_mut(&mut self, endpoint: EndpointKey) -> Option<&mut EndpointState> {
        let position = self.position(endpoint)?;
        let chunk = Arc::make_mut(&mut Arc::make_mut(&mut self.chunks)[position / CHUNK]);
        chunk[position % CHUNK].as_mut().map(Arc::make_mut)
    }

    /// Adds an endpoint that the list does not have.
    pub(super) fn insert(&mut self, endpoint_state: Arc<EndpointState>) {
        let position = self.keys.partition_point(|key| *key < endpoint_state.key);
        Arc::make_mut(&mut self.keys).insert(position, endpoint_state.key);
        let (mut at, mut next) = (position % CHUNK, endpoint_state);
        for chunk in Arc::make_mut(&mut self.chunks).iter_mut().skip(position / CHUNK) {
            let chunk = Arc::make_mut(chunk);
            chunk[at..].rotate_right(1);
            let Some(last) = chunk[at].replace(next) else { return };
            (at, next) = (0, last);
        }
        let last = chunk_of(&[next]);
        self.chunks = self.chunks.iter().cloned().chain([last]).collect();
    }

    /// Removes an endpoint and returns its state.
    pub(super) fn remove(&mut self, endpoint: EndpointKey) -> Option<Arc<EndpointState>> {
        let position = self.position(endpoint)?;
        Arc::make_mut(&mut self.keys).remove(position);
        let chunks = Arc::make_mut(&mut self.chunks);
        let (first, mut moved) = (position / CHUNK, None);
        for (at, chunk) in chunks.iter_mut().enumerate().skip(first).rev() {
            let chunk = Arc::make_mut(chunk);
            let from = if at == first { position % CHUNK } else { 0 };
            chunk[from..].rotate_left(1);
            moved = std::mem::replace(&mut chunk[CHUNK - 1], moved);
        }
        if self.len().is_multiple_of(CHUNK) {
            self.chunks = self.chunks.iter().take(self.len() / CHUNK).cloned().collect();
        }
        moved
    }
}

/// Returns a chunk of these states, which are not too many.
fn chunk_of(states: &[Arc<EndpointState>]) -> Arc<Chunk> {
    Arc::new(std::array::from_fn(|at| states.get(at).cloned()))
}

impl Index<usize> for EndpointList {
    type Output = Arc<EndpointState>;

    fn index(&self, position: usize) -> &Self::Output {
        match &self.chunks[position / CHUNK][position % CHUNK] {
            Some(endpoint_state) => endpoint_state,
            None => panic!("there is no position {position} in a list of {} endpoints", self.len()),
        }
    }
}

/// Keeps the order of the states.
impl FromIterator<Arc<EndpointState>> for EndpointList {
    fn from_iter<I: IntoIterator<Item = Arc<EndpointState>>>(states: I) -> Self {
        let states: Vec<_> = states.into_iter().collect();
        let keys = states.iter().map(|endpoint_state| endpoint_state.key).collect();
        Self { keys: Arc::new(keys), chunks: states.chunks(CHUNK).map(chunk_of).collect() }
    }
}

/// Iterates over the states of all chunks and knows how many are left.
#[derive(Clone)]
struct Iter<I> {
    states: I,
    left: usize,
}

impl<I: Iterator> Iterator for Iter<I> {
    type Item = I::Item;

    fn next(&mut self) -> Option<I::Item> {
        let next = self.states.next()?;
        self.left -= 1;
        Some(next)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }

    /// Goes through each chunk in an inner loop, unlike repeated calls of `next`.
    fn fold<B, F: FnMut(B, I::Item) -> B>(self, init: B, f: F) -> B {
        self.states.fold(init, f)
    }
}

impl<I: DoubleEndedIterator> DoubleEndedIterator for Iter<I> {
    fn next_back(&mut self) -> Option<I::Item> {
        let next = self.states.next_back()?;
        self.left -= 1;
        Some(next)
    }
}

impl<I: Iterator> ExactSizeIterator for Iter<I> {}

impl fmt::Debug for EndpointList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl PartialEq for EndpointList {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for EndpointList {}

impl Serialize for EndpointList {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for EndpointList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Vec::<Arc<EndpointState>>::deserialize(deserializer)?.into_iter().collect())
    }
}
