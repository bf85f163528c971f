//! Each endpoint is read by exactly one collector whenever there is one, and nothing moves that need not.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::prelude::{Strategy, prop_assert, prop_assert_eq, prop_oneof, proptest};
use signalbox_state::{AssignedEndpoint, CollectorStream, Pool, PoolEffect, PoolInput};
use signalbox_types::{EndpointKey, Generation};

use crate::support::{config, endpoint_spec, pool_of, pool_spec};

const COLLECTORS: usize = 4;

#[derive(Clone, Debug)]
enum Step {
    Join(usize),
    Leave(usize),
    /// For each endpoint: at which of its addresses it is, if at all.
    Spec(Vec<Option<u8>>),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..COLLECTORS).prop_map(Step::Join),
        3 => (0..COLLECTORS).prop_map(Step::Leave),
        2 => vec(proptest::option::weighted(0.8, 0_u8..2), 8).prop_map(Step::Spec),
    ]
}

/// What the collectors were told, each by its own stream.
#[derive(Default)]
struct Told {
    streams: [Option<CollectorStream>; COLLECTORS],
    opened: u64,
    assigned: BTreeMap<CollectorStream, Vec<AssignedEndpoint>>,
    sites: BTreeMap<EndpointKey, u8>,
}

impl Told {
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
        for effect in pool.fold(0, input) {
            if let PoolEffect::Assign(stream, assigned) = effect {
                prop_assert!(self.streams.contains(&Some(stream)), "a stream that is gone is told");
                let before = self.assigned.insert(stream, assigned.clone());
                prop_assert!(before != Some(assigned), "a stream is told what it knows");
            }
        }
        Ok(())
    }

    /// Who reads what, under which generation, by what the collectors were told.
    fn readers(&self) -> BTreeMap<EndpointKey, (usize, Generation)> {
        let mut readers = BTreeMap::new();
        for (collector, stream) in self.streams.iter().enumerate() {
            for assigned in stream.iter().flat_map(|stream| &self.assigned[stream]) {
                let before = readers.insert(assigned.endpoint, (collector, assigned.generation));
                assert_eq!(None, before, "two collectors read one endpoint");
            }
        }
        readers
    }
}

proptest! {
    #[test]
    fn every_endpoint_has_one_reader_and_moves_only_when_it_must(steps in vec(step(), 1..40)) {
        let mut pool = pool_of(0, config());
        let mut told = Told::default();
        let mut highest: BTreeMap<EndpointKey, Generation> = BTreeMap::new();
        for step in &steps {
            let (before, sites, was_live) = (told.readers(), told.sites.clone(), told.streams);
            told.step(&mut pool, step)?;
            let after = told.readers();
            let live: BTreeSet<usize> = (0..COLLECTORS).filter(|at| told.streams[*at].is_some()).collect();
            let expected: BTreeSet<_> = told.sites.keys().filter(|_| !live.is_empty()).collect();
            prop_assert_eq!(expected, after.keys().collect::<BTreeSet<_>>());
            for (endpoint, (reader, generation)) in &after {
                let Some((old_reader, old_generation)) = before.get(endpoint) else { continue };
                let same_stream = was_live[*old_reader] == told.streams[*old_reader];
                let same_place = sites[endpoint] == told.sites[endpoint];
                prop_assert_eq!(
                    reader == old_reader && same_stream && same_place,
                    generation == old_generation,
                    "a generation is one reading of one place on one stream"
                );
                if reader != old_reader {
                    let must = match step {
                        Step::Join(joined) => reader == joined,
                        Step::Leave(left) => old_reader == left,
                        Step::Spec(_) => false,
                    };
                    prop_assert!(must, "{:?} moved from {} to {}", endpoint, old_reader, reader);
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
fn a_collector_that_comes_back_before_its_old_stream_is_gone_keeps_its_endpoints() {
    let mut pool = pool_of(4, config());
    let (old, new) = (CollectorStream(1), CollectorStream(2));
    pool.fold(0, PoolInput::CollectorJoined(old, "one".to_owned()));
    let effects = pool.fold(0, PoolInput::CollectorJoined(new, "one".to_owned()));
    assert!(matches!(&effects[..], [PoolEffect::Dropped(void), PoolEffect::Assign(stream, assigned)]
            if *void == old && *stream == new && assigned.len() == 4));
    assert!(pool.fold(0, PoolInput::CollectorLeft(old)).is_empty());
}

#[test]
fn a_name_that_occurs_twice_is_one_endpoint() {
    let mut pool = pool_of(0, config());
    pool.fold(0, PoolInput::CollectorJoined(CollectorStream(1), "one".to_owned()));
    let twice = || PoolInput::Spec(pool_spec([endpoint_spec(0, 0), endpoint_spec(0, 1)]));
    pool.fold(0, twice());
    assert_eq!(1, pool.pool_state().endpoints().len());
    assert!(pool.fold(0, twice()).is_empty());
}
