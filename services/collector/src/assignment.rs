//! Assignments, and the steps from the current one to the next. Does no I/O.

use std::collections::BTreeMap;

use signalbox_state::AssignedEndpoint;
use signalbox_types::{EndpointKey, Generation};

/// Whether the aggregator already knows the values of the assigned endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AssignmentKind {
    /// The first assignment on a new stream: the aggregator knows no values yet.
    NewStream,
    /// A later assignment on the same stream.
    Update,
}

/// All endpoints to scrape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Assignment {
    pub(crate) endpoints: Vec<AssignedEndpoint>,
    pub(crate) kind: AssignmentKind,
}

/// What to do with one endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AssignmentStep {
    /// Stop scraping it.
    Remove(EndpointKey),
    /// Start scraping it.
    Add(AssignedEndpoint),
    /// Start over, because its URL, its engine or how its page is verified changed.
    Replace(AssignedEndpoint),
    /// Keep scraping it, use this generation from now on, and report all values.
    Resend(EndpointKey, Generation),
}

/// Returns the steps from the `current` endpoints to the assigned ones. If an endpoint is assigned twice, the
/// higher generation counts.
pub(crate) fn steps<'a>(
    current: impl Iterator<Item = (EndpointKey, &'a AssignedEndpoint)>,
    assignment: Assignment,
) -> Vec<AssignmentStep> {
    let Assignment { mut endpoints, kind } = assignment;
    endpoints.sort_by_key(|assigned| assigned.generation);
    let mut wanted: BTreeMap<_, _> = endpoints.into_iter().map(|wanted| (wanted.endpoint, wanted)).collect();
    let mut steps = Vec::new();
    for (key, held) in current {
        match wanted.remove(&key) {
            None => steps.push(AssignmentStep::Remove(key)),
            Some(wanted) if !reads_the_same(&wanted, held) => steps.push(AssignmentStep::Replace(wanted)),
            Some(wanted) if wanted.generation != held.generation || kind == AssignmentKind::NewStream => {
                steps.push(AssignmentStep::Resend(key, wanted.generation));
            }
            Some(_) => {}
        }
    }
    steps.extend(wanted.into_values().map(AssignmentStep::Add));
    steps
}

/// Returns whether a scrape of one reads the same as a scrape of the other.
fn reads_the_same(one: &AssignedEndpoint, other: &AssignedEndpoint) -> bool {
    one.metrics_url == other.metrics_url && one.engine == other.engine && one.metrics_tls == other.metrics_tls
}

#[cfg(test)]
mod tests {
    use proptest::collection::{btree_map, vec};
    use proptest::prelude::{Strategy, prop_assert, prop_assert_eq, prop_assert_ne, proptest};
    use signalbox_types::{Engine, MetricsTls};

    use super::*;

    fn assigned(key: u64, generation: u64, port: u8) -> AssignedEndpoint {
        AssignedEndpoint {
            endpoint: EndpointKey(key),
            generation: Generation(generation),
            name: format!("pod-{key}"),
            metrics_url: format!("http://pod:{port}/metrics"),
            engine: Engine::Vllm,
            metrics_tls: MetricsTls::Verified,
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
        current: &BTreeMap<EndpointKey, AssignedEndpoint>,
        endpoints: Vec<AssignedEndpoint>,
        kind: AssignmentKind,
    ) -> Vec<AssignmentStep> {
        steps(current.iter().map(|(key, held)| (*key, held)), Assignment { endpoints, kind })
    }

    #[test]
    fn unchanged_endpoints_need_no_step() {
        let current = BTreeMap::from([1, 2, 3, 4].map(|key| (EndpointKey(key), assigned(key, 1, 0))));
        let wanted = vec![assigned(2, 1, 0), assigned(3, 2, 0), assigned(4, 1, 9), assigned(5, 1, 0)];
        let expected = vec![
            AssignmentStep::Remove(EndpointKey(1)),
            AssignmentStep::Resend(EndpointKey(3), Generation(2)),
            AssignmentStep::Replace(assigned(4, 1, 9)),
            AssignmentStep::Add(assigned(5, 1, 0)),
        ];
        assert_eq!(planned(&current, wanted, AssignmentKind::Update), expected);
    }

    proptest! {
        #[test]
        fn steps_lead_to_the_assignment_and_change_nothing_else(mut current in any_set(), wanted in any_set(), again in vec(0..12u64, 0..4)) {
            let mut endpoints: Vec<_> = wanted.values().cloned().collect();
            endpoints.extend(again.iter().filter_map(|key| wanted.get(&EndpointKey(*key)).cloned()));
            for step in planned(&current.clone(), endpoints.clone(), AssignmentKind::Update) {
                match step {
                    AssignmentStep::Remove(key) => prop_assert!(!wanted.contains_key(&key) && current.remove(&key).is_some()),
                    AssignmentStep::Add(new) => prop_assert!(current.insert(new.endpoint, new).is_none()),
                    AssignmentStep::Replace(new) => {
                        let held = current.insert(new.endpoint, new.clone()).unwrap();
                        prop_assert_ne!(held.metrics_url, new.metrics_url);
                    }
                    AssignmentStep::Resend(key, generation) => {
                        let held = std::mem::replace(&mut current.get_mut(&key).unwrap().generation, generation);
                        prop_assert_ne!(held, generation);
                    }
                }
            }
            prop_assert_eq!(&current, &wanted);
            prop_assert_eq!(planned(&current, endpoints.clone(), AssignmentKind::Update), vec![]);
            let is_resend = |step: &AssignmentStep| matches!(step, AssignmentStep::Resend(..));
            let steps = planned(&current, endpoints, AssignmentKind::NewStream);
            prop_assert!(steps.len() == wanted.len() && steps.iter().all(is_resend));
        }
    }
}
