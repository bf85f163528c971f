//! Which endpoints keep responses that clients can name again: those of OpenAI's responses API.

use std::collections::BTreeMap;
use std::sync::Arc;

use signalbox_types::{EndpointKey, ResponseKey};

use super::{PoolState, digest};

/// The responses of one part.
type Part = BTreeMap<ResponseKey, EndpointKey>;

/// Which endpoint keeps each response. Copies share the parts that do not change: a change after a copy copies one part,
/// a 256th of all responses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredResponses {
    /// The parts by the first byte of their keys. None is empty.
    parts: Arc<BTreeMap<u8, Arc<Part>>>,
    len: usize,
}

impl StoredResponses {
    /// Returns the endpoint that keeps `response`, if it is known.
    pub fn get(&self, response: ResponseKey) -> Option<EndpointKey> {
        self.parts.get(&part_of(response))?.get(&response).copied()
    }

    /// Returns the number of known responses.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns whether no response is known.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns all responses, in parts.
    pub fn parts(&self) -> impl Iterator<Item = &Arc<BTreeMap<ResponseKey, EndpointKey>>> {
        self.parts.values()
    }

    /// Returns all parts in groups of at most `max` responses, unless a single part has more. Copies nothing.
    pub(crate) fn groups(&self, max: usize) -> Vec<Vec<Arc<Part>>> {
        let (mut groups, mut open) = (Vec::new(), 0);
        for part in self.parts() {
            if groups.is_empty() || open + part.len() > max {
                groups.push(Vec::new());
                open = 0;
            }
            open += part.len();
            groups.last_mut().into_iter().for_each(|group| group.push(Arc::clone(part)));
        }
        groups
    }

    /// Sets the endpoint that keeps `response`; `None` forgets it. Returns the one before.
    fn set(&mut self, response: ResponseKey, endpoint: Option<EndpointKey>) -> Option<EndpointKey> {
        let (parts, at) = (Arc::make_mut(&mut self.parts), part_of(response));
        let part = Arc::make_mut(parts.entry(at).or_default());
        let before = match endpoint {
            Some(endpoint) => part.insert(response, endpoint),
            None => part.remove(&response),
        };
        if part.is_empty() {
            parts.remove(&at);
        }
        self.len = self.len + usize::from(endpoint.is_some()) - usize::from(before.is_some());
        before
    }
}

/// Keys are hashes, so their first bytes spread them evenly.
fn part_of(ResponseKey(hash): ResponseKey) -> u8 {
    hash.to_be_bytes()[0]
}

impl PoolState {
    /// Returns which endpoints keep responses.
    pub fn stored_responses(&self) -> &StoredResponses {
        &self.stored_responses
    }

    /// Sets the endpoint that keeps `response`; `None` forgets it.
    pub(crate) fn set_stored_response(&mut self, response: ResponseKey, endpoint: Option<EndpointKey>) {
        let before = self.stored_responses.set(response, endpoint);
        let sum = |endpoint| digest::of_stored_response(response, endpoint);
        digest::replace_part(&mut self.digest.responses, sum(before), sum(endpoint));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, proptest};

    use super::*;

    /// Few keys, so that they repeat, in few parts.
    fn key() -> impl Strategy<Value = ResponseKey> {
        (0..3_u64, 0..4_u64).prop_map(|(part, low)| ResponseKey(part << 56 | low))
    }

    proptest! {
        #[test]
        fn table_is_a_map_and_copies_do_not_change(
            changes in proptest::collection::vec((key(), any::<Option<u8>>()), 0..60),
        ) {
            let (mut table, mut map) = (StoredResponses::default(), Part::new());
            let mut copies = Vec::new();
            for (response, endpoint) in changes {
                let endpoint = endpoint.map(|endpoint| EndpointKey(endpoint.into()));
                let before = match endpoint {
                    Some(endpoint) => map.insert(response, endpoint),
                    None => map.remove(&response),
                };
                copies.push((table.clone(), table.parts().flat_map(|part| (**part).clone()).collect::<Part>()));
                prop_assert_eq!(before, table.set(response, endpoint));
                prop_assert_eq!(endpoint, table.get(response));
                prop_assert_eq!((map.len(), map.is_empty()), (table.len(), table.is_empty()));
            }
            for max in [1, 3, usize::MAX] {
                let groups = table.groups(max);
                let fits = |group: &Vec<Arc<Part>>| {
                    let len = group.iter().map(|part| part.len()).sum::<usize>();
                    group.len() == 1 || len <= max && !group.is_empty()
                };
                prop_assert!(groups.iter().all(fits));
                prop_assert_eq!(&map, &groups.iter().flatten().flat_map(|part| (**part).clone()).collect::<Part>());
            }
            copies.push((table, map));
            for (copy, map) in copies {
                prop_assert_eq!(&map, &copy.parts().flat_map(|part| (**part).clone()).collect::<Part>());
            }
        }
    }
}
