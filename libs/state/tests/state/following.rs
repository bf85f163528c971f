//! A snapshot and the changes after it yield exactly the owner's state.

use std::sync::Arc;

use proptest::prelude::{prop_assert_eq, proptest};
use signalbox_state::{ApplyOutcome, PoolInput, SnapshotEntry, StateReplica};
use signalbox_types::{ModelRewrite, Models, Objective, Origin, RewriteRule, RewriteTarget};

use crate::fixtures::random_steps::history;
use crate::fixtures::simulated_pool::SimulatedPool;
use crate::fixtures::state_contents::{Contents, rebuild};
use crate::fixtures::{OWNER, catch_up, config, heartbeat, models, pool_of};

proptest! {
    #[test]
    fn follower_from_the_first_change_equals_the_owner(steps in history(1..60)) {
        let (mut simulated, mut replica) = (SimulatedPool::new(1, config()), StateReplica::default());
        catch_up(&mut replica, &simulated.pool);
        for step in &steps {
            simulated.step(step);
            let took_snapshot = catch_up(&mut replica, &simulated.pool);
            prop_assert_eq!(false, took_snapshot);
            prop_assert_eq!(Some(simulated.pool.journal().head()), replica.version());
            prop_assert_eq!(Contents::of(simulated.pool.pool_state()), Contents::of(replica.pool_state()));
            prop_assert_eq!(ApplyOutcome::Applied, replica.apply(OWNER, heartbeat(&simulated.pool)));
        }
    }

    #[test]
    fn follower_from_any_snapshot_equals_the_owner(before in history(0..40), after in history(0..40)) {
        let (mut simulated, mut replica) = (SimulatedPool::new(1, config()), StateReplica::default());
        simulated.run(&before);
        let snapshot = Arc::new(simulated.pool.snapshot());
        let reset = Arc::clone(&snapshot).frames().map(|frame| replica.apply(OWNER, frame)).last();
        prop_assert_eq!(Some(ApplyOutcome::Reset), reset);
        prop_assert_eq!(Contents::of(simulated.pool.pool_state()), Contents::of(replica.pool_state()));
        simulated.run(&after);
        catch_up(&mut replica, &simulated.pool);
        prop_assert_eq!(Contents::of(simulated.pool.pool_state()), Contents::of(replica.pool_state()));
    }

    #[test]
    fn incremental_digest_equals_recomputed_digest(steps in history(1..80)) {
        let mut simulated = SimulatedPool::new(1, config());
        for step in &steps {
            simulated.step(step);
            let recomputed = rebuild(&simulated.pool.snapshot());
            prop_assert_eq!(Contents::of(simulated.pool.pool_state()), Contents::of(&recomputed));
        }
    }
}

#[test]
fn digest_of_an_emptied_pool_is_that_of_a_new_one() {
    let mut simulated = SimulatedPool::new(1, config());
    simulated.pool = pool_of(3, config());
    let empty = SimulatedPool::new(1, config());
    simulated.pool.handle(0, PoolInput::Spec(crate::fixtures::pool_spec([])));
    // Only that it was assessed is left.
    simulated.pool.handle(0, PoolInput::StoredSignal(None));
    assert_eq!(Contents::of(empty.pool.pool_state()), Contents::of(simulated.pool.pool_state()));
}

#[test]
fn digest_covers_every_part_of_an_endpoint() {
    let pool = pool_of(1, config());
    let endpoint_state = pool.pool_state().endpoints().next().unwrap();
    let of = |edited: signalbox_state::EndpointState, loads| {
        let parts = vec![(edited, loads)];
        signalbox_state::PoolState::from_parts(parts, Vec::new(), Vec::new(), &Arc::default())
            .unwrap()
            .digest()
    };
    let digest = |edit: &dyn Fn(&mut signalbox_state::EndpointState)| {
        let mut edited = (**endpoint_state).clone();
        edit(&mut edited);
        of(edited, Vec::new())
    };
    let edits: [&dyn Fn(&mut signalbox_state::EndpointState); 5] = [
        &|endpoint_state| Arc::make_mut(&mut endpoint_state.spec).metrics_url.push('x'),
        &|endpoint_state| {
            drop(Arc::make_mut(&mut endpoint_state.spec).labels.insert("a".to_owned(), "b".to_owned()))
        },
        &|endpoint_state| endpoint_state.observed.unbooked_requests = 1,
        &|endpoint_state| endpoint_state.observed.scrape_status_since_ms = 1,
        &|endpoint_state| endpoint_state.adapters = Some(Arc::default()),
    ];
    for edit in edits {
        assert_eq!(1, digest(edit).differing(&pool.pool_state().digest()).len());
    }
    let load = signalbox_types::Load { requests: 1, prefills: 0, prefill_tokens: 0 };
    let loaded = of((**endpoint_state).clone(), vec![(Origin(1), load)]);
    assert_eq!(vec!["loads"], loaded.differing(&pool.pool_state().digest()));
}

#[test]
fn digest_covers_every_part_of_the_models() {
    let target = |weight| RewriteTarget { model: "served".to_owned(), weight };
    let of = |priority, created_ms, models: &[&str], targets: &[RewriteTarget]| {
        let models = models.iter().map(|model| (*model).to_owned()).collect();
        let rules = vec![RewriteRule { models, targets: targets.to_vec() }];
        let rewrite = ModelRewrite { name: "rewrite".to_owned(), created_ms, rules };
        let objective = Objective { name: "objective".to_owned(), priority };
        let models = Arc::new(Models::new(vec![objective], vec![rewrite]));
        signalbox_state::PoolState::from_parts(Vec::new(), Vec::new(), Vec::new(), &models).unwrap().digest()
    };
    let digests = [
        signalbox_state::Digest::default(),
        of(1, None, &["m"], &[target(None)]),
        of(-1, None, &["m"], &[target(None)]),
        of(1, Some(1), &["m"], &[target(None)]),
        of(1, None, &["m", "served"], &[target(None)]),
        of(1, None, &[], &[target(None)]),
        of(1, None, &["m"], &[target(Some(1))]),
        of(1, None, &["m"], &[target(None), target(None)]),
    ];
    for (at, one) in digests.iter().enumerate() {
        for other in &digests[..at] {
            assert_eq!(vec!["models"], one.differing(other));
        }
    }
}

#[test]
fn models_are_replicated_once_and_visible_in_the_view() {
    let mut pool = pool_of(1, config());
    let mut replica = StateReplica::default();
    catch_up(&mut replica, &pool);
    let spec = |number: u8| PoolInput::Spec(crate::fixtures::spec_with_models(models(number)));
    let seq = |pool: &signalbox_state::Pool| pool.journal().head().seq;
    let before = seq(&pool);
    pool.handle(0, spec(1));
    pool.handle(0, spec(1));
    assert_eq!(before + 1, seq(&pool));
    assert!(!catch_up(&mut replica, &pool));
    let bookings = signalbox_state::Bookings::new(Arc::new(|| {}));
    let view = signalbox_state::View::next(&signalbox_state::View::default(), &replica, &bookings);
    assert_eq!((models(1), -1), (Arc::clone(&view.models), view.models.priority(Some("objective-1"))));
    pool.handle(0, spec(0));
    assert_eq!(before + 2, seq(&pool));
    catch_up(&mut replica, &pool);
    assert!(replica.pool_state().models().is_empty());
}

#[test]
fn snapshot_entries_have_bounded_size() {
    let config = signalbox_state::PoolConfig { assumed_kv_tokens: 1 << 20, ..config() };
    let mut pool = pool_of(40, config);
    let suffix: Arc<[_]> = (1..=30_000).map(signalbox_types::BlockHash).collect();
    let placements = (0..40).map(|index| signalbox_state::Placement {
        number: index as u64 + 1,
        endpoint: crate::fixtures::endpoint(index),
        incarnation: signalbox_types::Incarnation(0),
        anchor: signalbox_types::BlockHash::ROOT,
        suffix: Arc::clone(&suffix),
    });
    pool.handle(0, PoolInput::Feedback(crate::feedback::full_batch(1, 1, Vec::new(), placements.collect())));
    let snapshot = pool.snapshot();
    let size = |entry: &Arc<SnapshotEntry>| match &**entry {
        SnapshotEntry::Runs(runs) => runs
            .iter()
            .fold((0, 0), |(blocks, holders), run| (blocks + run.blocks.len(), holders + run.placed.len())),
        SnapshotEntry::Endpoint(..)
        | SnapshotEntry::Origin(..)
        | SnapshotEntry::Models(_)
        | SnapshotEntry::TokenRatios(_)
        | SnapshotEntry::StoredResponses(_)
        | SnapshotEntry::ProvisionalSince(_)
        | SnapshotEntry::Flow(_)
        | SnapshotEntry::Signal(_) => (0, 0),
    };
    let sizes: Vec<(usize, usize)> = snapshot.entries.iter().map(size).collect();
    assert_eq!(30_000, sizes.iter().map(|(blocks, _)| blocks).sum::<usize>());
    assert!(sizes.iter().all(|(blocks, holders)| blocks * 8 + holders * 16 <= 60_000), "{sizes:?}");
    let mut replica = StateReplica::default();
    catch_up(&mut replica, &pool);
    assert_eq!(Contents::of(pool.pool_state()), Contents::of(replica.pool_state()));
}
