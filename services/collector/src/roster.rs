//! What a new assignment changes. Pure.

use std::collections::BTreeMap;

use signalbox_state::AssignedEndpoint;
use signalbox_types::{EndpointKey, Generation};

/// Whether an assignment came to somebody who has been told of these endpoints before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Occasion {
    /// It is the first on a new stream: the other side knows nothing of what was read.
    NewStream,
    /// The set changed.
    Change,
}

/// The whole set of endpoints to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Assignment {
    pub(crate) endpoints: Vec<AssignedEndpoint>,
    pub(crate) occasion: Occasion,
}

/// What to do about one endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Move {
    /// It is another's now.
    Release(EndpointKey),
    /// It is to be read.
    Take(AssignedEndpoint),
    /// It is read in another place or another way: begin again.
    Replace(AssignedEndpoint),
    /// It is read already; from now on under this generation, beginning with everything.
    Restate(EndpointKey, Generation),
}

/// What to do so that what is read becomes what is assigned. An endpoint that is named twice counts with its highest generation.
pub(crate) fn moves<'a>(
    read: impl Iterator<Item = (EndpointKey, &'a AssignedEndpoint)>,
    assignment: Assignment,
) -> Vec<Move> {
    let Assignment { mut endpoints, occasion } = assignment;
    endpoints.sort_by_key(|assigned| assigned.generation);
    let mut wanted: BTreeMap<_, _> = endpoints.into_iter().map(|wanted| (wanted.endpoint, wanted)).collect();
    let mut moves = Vec::new();
    for (key, held) in read {
        match wanted.remove(&key) {
            None => moves.push(Move::Release(key)),
            Some(wanted) if wanted.metrics_url != held.metrics_url || wanted.engine != held.engine => {
                moves.push(Move::Replace(wanted));
            }
            Some(wanted) if wanted.generation != held.generation || occasion == Occasion::NewStream => {
                moves.push(Move::Restate(key, wanted.generation));
            }
            Some(_) => {}
        }
    }
    moves.extend(wanted.into_values().map(Move::Take));
    moves
}

#[cfg(test)]
mod tests {
    use proptest::collection::{btree_map, vec};
    use proptest::prelude::{Strategy, prop_assert, prop_assert_eq, prop_assert_ne, proptest};
    use signalbox_types::Engine;

    use super::*;

    fn assigned(key: u64, generation: u64, port: u8) -> AssignedEndpoint {
        AssignedEndpoint {
            endpoint: EndpointKey(key),
            generation: Generation(generation),
            name: format!("pod-{key}"),
            metrics_url: format!("http://pod:{port}/metrics"),
            engine: Engine::Vllm,
        }
    }

    fn any_set() -> impl Strategy<Value = BTreeMap<EndpointKey, AssignedEndpoint>> {
        btree_map(0..12u64, (0..3u64, 0..2u8), 0..12).prop_map(|set| {
            set.into_iter()
                .map(|(key, (generation, port))| (EndpointKey(key), assigned(key, generation, port)))
                .collect()
        })
    }

    fn planned(
        read: &BTreeMap<EndpointKey, AssignedEndpoint>,
        endpoints: Vec<AssignedEndpoint>,
        occasion: Occasion,
    ) -> Vec<Move> {
        moves(read.iter().map(|(key, held)| (*key, held)), Assignment { endpoints, occasion })
    }

    #[test]
    fn only_what_moved_is_touched() {
        let read = BTreeMap::from([1, 2, 3, 4].map(|key| (EndpointKey(key), assigned(key, 1, 0))));
        let wanted = vec![assigned(2, 1, 0), assigned(3, 2, 0), assigned(4, 1, 9), assigned(5, 1, 0)];
        let expected = vec![
            Move::Release(EndpointKey(1)),
            Move::Restate(EndpointKey(3), Generation(2)),
            Move::Replace(assigned(4, 1, 9)),
            Move::Take(assigned(5, 1, 0)),
        ];
        assert_eq!(planned(&read, wanted, Occasion::Change), expected);
    }

    proptest! {
        #[test]
        fn the_moves_lead_to_the_assignment_and_touch_nothing_else(mut read in any_set(), wanted in any_set(), again in vec(0..12u64, 0..4)) {
            let mut endpoints: Vec<_> = wanted.values().cloned().collect();
            endpoints.extend(again.iter().filter_map(|key| wanted.get(&EndpointKey(*key)).cloned()));
            for step in planned(&read.clone(), endpoints.clone(), Occasion::Change) {
                match step {
                    Move::Release(key) => prop_assert!(!wanted.contains_key(&key) && read.remove(&key).is_some()),
                    Move::Take(new) => prop_assert!(read.insert(new.endpoint, new).is_none()),
                    Move::Replace(new) => {
                        let held = read.insert(new.endpoint, new.clone()).unwrap();
                        prop_assert_ne!(held.metrics_url, new.metrics_url);
                    }
                    Move::Restate(key, generation) => {
                        let held = std::mem::replace(&mut read.get_mut(&key).unwrap().generation, generation);
                        prop_assert_ne!(held, generation);
                    }
                }
            }
            prop_assert_eq!(&read, &wanted);
            prop_assert_eq!(planned(&read, endpoints.clone(), Occasion::Change), vec![]);
            let restated = |step: &Move| matches!(step, Move::Restate(..));
            let moves = planned(&read, endpoints, Occasion::NewStream);
            prop_assert!(moves.len() == wanted.len() && moves.iter().all(restated));
        }
    }
}
