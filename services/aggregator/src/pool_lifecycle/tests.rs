use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;
use signalbox_types::{EndpointSpec, Engine, MetricsTls};
use signalbox_wire::ServedPool;

use super::*;
use crate::pool_source::SourcedPool;

const DRAIN_MS: u64 = 60;

fn id(name: &str) -> PoolId {
    PoolId { namespace: "default".to_owned(), name: name.to_owned() }
}

/// The specification of a pool with `endpoints` endpoints.
fn spec(name: &str, endpoints: u16) -> Arc<PoolSpec> {
    let endpoint = |number| EndpointSpec {
        name: format!("{name}-{number}"),
        address: ([127, 0, 0, 1], number).into(),
        metrics_url: String::new(),
        engine: Engine::Vllm,
        labels: BTreeMap::new(),
        is_draining: false,
        metrics_tls: MetricsTls::Verified,
    };
    let endpoints = (1..=endpoints).map(endpoint).collect();
    Arc::new(PoolSpec { id: id(name), endpoints, models: Arc::default() })
}

/// A synced set of pools with their numbers of endpoints.
fn set(pools: &[(&str, u16)]) -> PoolSet {
    let sourced = |(name, endpoints): &(&str, u16)| {
        (id(name), SourcedPool { spec: spec(name, *endpoints), served: ServedPool::default() })
    };
    PoolSet { is_synced: true, pools: pools.iter().map(sourced).collect() }
}

#[test]
fn pools_start_change_retire_and_stop() {
    use LifecycleEffect::{Retire, Start, Stop, Update};
    let mut lifecycle = PoolLifecycle::new(DRAIN_MS);
    assert_eq!(vec![Start(id("a"), spec("a", 1))], lifecycle.adopt(0, &set(&[("a", 1)])));
    assert_eq!(0, lifecycle.adopt(1, &set(&[("a", 1)])).len());
    let effects = lifecycle.adopt(2, &set(&[("a", 2), ("b", 1)]));
    assert_eq!(vec![Update(id("a"), spec("a", 2)), Start(id("b"), spec("b", 1))], effects);
    assert_eq!(vec![Retire(id("a"))], lifecycle.adopt(3, &set(&[("b", 1)])));
    assert_eq!(0, lifecycle.adopt(4, &set(&[("b", 1)])).len(), "it retires once");
    assert_eq!(0, lifecycle.stop_due(2 + DRAIN_MS).len());
    assert_eq!(vec![Stop(id("a"))], lifecycle.stop_due(3 + DRAIN_MS));
    assert_eq!(1, lifecycle.adopt(100, &set(&[("a", 2), ("b", 1)])).len(), "it starts again");
}

#[test]
fn pool_that_comes_back_soon_goes_on() {
    let mut lifecycle = PoolLifecycle::new(DRAIN_MS);
    lifecycle.adopt(0, &set(&[("a", 1)]));
    lifecycle.adopt(1, &set(&[]));
    let effects = lifecycle.adopt(2, &set(&[("a", 1)]));
    assert_eq!(vec![LifecycleEffect::Update(id("a"), spec("a", 1))], effects);
    assert_eq!(0, lifecycle.stop_due(1_000).len());
}

#[test]
fn set_that_is_not_synced_has_no_effect() {
    let mut lifecycle = PoolLifecycle::new(DRAIN_MS);
    let unsynced = |set| PoolSet { is_synced: false, ..set };
    assert_eq!(0, lifecycle.adopt(0, &unsynced(set(&[("a", 0)]))).len());
    lifecycle.adopt(1, &set(&[("a", 1)]));
    assert_eq!(0, lifecycle.adopt(2, &unsynced(set(&[]))).len());
}

proptest! {
    #[test]
    fn a_pool_runs_while_it_is_listed_and_for_a_while_longer(
        steps in vec((0..40_u64, any::<bool>(), vec(("[ab]", 0..3_u16), 0..3)), 0..40),
    ) {
        let mut lifecycle = PoolLifecycle::new(DRAIN_MS);
        let (mut now, mut running) = (0, BTreeSet::new());
        let mut gone_since: BTreeMap<PoolId, u64> = BTreeMap::new();
        for (pause, is_synced, pools) in steps {
            now += pause;
            let pools: Vec<_> = pools.iter().map(|(name, endpoints)| (name.as_str(), *endpoints)).collect();
            let set = PoolSet { is_synced, ..set(&pools) };
            let mut effects = lifecycle.stop_due(now);
            effects.extend(lifecycle.adopt(now, &set));
            for effect in effects {
                match effect {
                    LifecycleEffect::Start(pool, _) => prop_assert!(running.insert(pool)),
                    LifecycleEffect::Update(pool, _) => {
                        gone_since.remove(&pool);
                        prop_assert!(running.contains(&pool));
                    }
                    LifecycleEffect::Retire(pool) => prop_assert_eq!(None, gone_since.insert(pool, now)),
                    LifecycleEffect::Stop(pool) => {
                        prop_assert!(running.remove(&pool));
                        prop_assert!(gone_since.remove(&pool).is_some_and(|since| since + DRAIN_MS <= now));
                    }
                }
            }
            if is_synced {
                let wanted: BTreeSet<_> = running.iter().filter(|pool| !gone_since.contains_key(*pool)).cloned().collect();
                prop_assert_eq!(set.pools.keys().cloned().collect::<BTreeSet<_>>(), wanted);
            }
            prop_assert!(gone_since.values().all(|since| now < since + DRAIN_MS));
        }
    }
}
