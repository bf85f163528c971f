//! Each endpoint is assigned to exactly one collector if there is any, and moves only when necessary.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::prelude::{Strategy, prop_assert, prop_assert_eq, prop_oneof, proptest};
use signalbox_state::{AssignedEndpoint, CollectorStream, Pool, PoolEffect, PoolInput};
use signalbox_types::{EndpointKey, Generation};

use crate::fixtures::{config, endpoint_spec, pool_of, pool_spec};

const COLLECTORS: usize = 4;

#[derive(Clone, Debug)]
enum Step {
    Join(usize),
    Leave(usize),
    /// For each endpoint: which of its addresses it has, if it is present.
    Spec(Vec<Option<u8>>),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..COLLECTORS).prop_map(Step::Join),
        3 => (0..COLLECTORS).prop_map(Step::Leave),
        2 => vec(proptest::option::weighted(0.8, 0_u8..2), 8).prop_map(Step::Spec),
    ]
}

/// The assignments that collectors received, by stream.
#[derive(Default)]
struct AssignmentTracker {
    streams: [Option<CollectorStream>; COLLECTORS],
    opened: u64,
    assigned: BTreeMap<CollectorStream, Vec<AssignedEndpoint>>,
    sites: BTreeMap<EndpointKey, u8>,
}

impl AssignmentTracker {
    fn step(&mut self, pool: &mut Pool, step: &Step) -> Result<(), proptest::test_runner::TestCaseError> {
        let input = match step {
            Step::Join(collector) => {
                self.opened += 1;
                let stream = CollectorStream(self.opened);
                if let Some(before) = self.streams[*collector].replace(stream) {
                    self.assigned.remove(&before);
                }
                PoolInput::CollectorJoined(stream, format!("collector-{collector}"))
            }
            Step::Leave(collector) => {
                let Some(stream) = self.streams[*collector].take() else { return Ok(()) };
                self.assigned.remove(&stream);
                PoolInput::CollectorLeft(stream)
            }
            Step::Spec(sites) => {
                let present = sites.iter().enumerate().filter_map(|(at, site)| Some((at, (*site)?)));
                self.sites =
                    present.clone().map(|(at, site)| (endpoint_spec(at, site).key(), site)).collect();
                PoolInput::Spec(pool_spec(present.map(|(at, site)| endpoint_spec(at, site))))
            }
        };
        for effect in pool.handle(0, input) {
            if let PoolEffect::Assign(stream, assigned) = effect {
                prop_assert!(self.streams.contains(&Some(stream)), "a closed stream gets an assignment");
                let before = self.assigned.insert(stream, assigned.clone());
                prop_assert!(before != Some(assigned), "a stream gets the same assignment again");
            }
        }
        Ok(())
    }

    /// Returns which collector scrapes each endpoint, and the generation, according to the assignments sent.
    fn collectors_by_endpoint(&self) -> BTreeMap<EndpointKey, (usize, Generation)> {
        let mut collectors_by_endpoint = BTreeMap::new();
        for (collector, stream) in self.streams.iter().enumerate() {
            for assigned in stream.iter().flat_map(|stream| &self.assigned[stream]) {
                let before =
                    collectors_by_endpoint.insert(assigned.endpoint, (collector, assigned.generation));
                assert_eq!(None, before, "two collectors scrape one endpoint");
            }
        }
        collectors_by_endpoint
    }
}

proptest! {
    #[test]
    fn every_endpoint_has_one_collector_and_moves_only_when_necessary(steps in vec(step(), 1..40)) {
        let mut pool = pool_of(0, config());
        let mut tracker = AssignmentTracker::default();
        let mut highest: BTreeMap<EndpointKey, Generation> = BTreeMap::new();
        for step in &steps {
            let (before, sites, was_live) = (tracker.collectors_by_endpoint(), tracker.sites.clone(), tracker.streams);
            tracker.step(&mut pool, step)?;
            let after = tracker.collectors_by_endpoint();
            let live: BTreeSet<usize> = (0..COLLECTORS).filter(|at| tracker.streams[*at].is_some()).collect();
            let expected: BTreeSet<_> = tracker.sites.keys().filter(|_| !live.is_empty()).collect();
            prop_assert_eq!(expected, after.keys().collect::<BTreeSet<_>>());
            for (endpoint, (collector, generation)) in &after {
                let Some((old_collector, old_generation)) = before.get(endpoint) else { continue };
                let same_stream = was_live[*old_collector] == tracker.streams[*old_collector];
                let same_place = sites[endpoint] == tracker.sites[endpoint];
                prop_assert_eq!(
                    collector == old_collector && same_stream && same_place,
                    generation == old_generation,
                    "a generation covers one address on one stream"
                );
                if collector != old_collector {
                    let must = match step {
                        Step::Join(joined) => collector == joined,
                        Step::Leave(left) => old_collector == left,
                        Step::Spec(_) => false,
                    };
                    prop_assert!(must, "{:?} moved from {} to {}", endpoint, old_collector, collector);
                }
            }
            for (endpoint, (_, generation)) in &after {
                let highest = highest.entry(*endpoint).or_insert(*generation);
                prop_assert!(generation >= highest);
                *highest = *generation;
            }
        }
    }
}

#[test]
fn collector_that_reconnects_early_keeps_its_endpoints() {
    let mut pool = pool_of(4, config());
    let (old, new) = (CollectorStream(1), CollectorStream(2));
    pool.handle(0, PoolInput::CollectorJoined(old, "one".to_owned()));
    let effects = pool.handle(0, PoolInput::CollectorJoined(new, "one".to_owned()));
    assert!(matches!(&effects[..], [PoolEffect::CloseCollector(void), PoolEffect::Assign(stream, assigned)]
            if *void == old && *stream == new && assigned.len() == 4));
    assert!(pool.handle(0, PoolInput::CollectorLeft(old)).is_empty());
}

#[test]
fn duplicate_endpoint_name_is_one_endpoint() {
    let mut pool = pool_of(0, config());
    pool.handle(0, PoolInput::CollectorJoined(CollectorStream(1), "one".to_owned()));
    let twice = || PoolInput::Spec(pool_spec([endpoint_spec(0, 0), endpoint_spec(0, 1)]));
    pool.handle(0, twice());
    assert_eq!(1, pool.pool_state().endpoints().len());
    assert!(pool.handle(0, twice()).is_empty());
}
