//! A snapshot and the changes after it give the owner's state, bit for bit.

use std::sync::Arc;

use proptest::prelude::{prop_assert_eq, proptest};
use signalbox_state::{ApplyOutcome, PoolInput, SnapshotEntry, StateReplica};
use signalbox_types::{ModelRewrite, Models, Objective, Origin, RewriteRule, RewriteTarget};

use crate::support::contents::{Contents, rebuilt};
use crate::support::steps::life;
use crate::support::world::World;
use crate::support::{OWNER, beat, catch_up, config, models, pool_of};

proptest! {
    #[test]
    fn a_follower_from_the_first_change_on_holds_what_the_owner_holds(steps in life(1..60)) {
        let (mut world, mut replica) = (World::new(1, config()), StateReplica::default());
        catch_up(&mut replica, &world.pool);
        for step in &steps {
            world.step(step);
            let took_snapshot = catch_up(&mut replica, &world.pool);
            prop_assert_eq!(false, took_snapshot);
            prop_assert_eq!(Some(world.pool.journal().head()), replica.version());
            prop_assert_eq!(Contents::of(world.pool.pool_state()), Contents::of(replica.pool_state()));
            prop_assert_eq!(ApplyOutcome::Applied, replica.apply(OWNER, beat(&world.pool)));
        }
    }

    #[test]
    fn a_follower_that_begins_with_any_snapshot_holds_what_the_owner_holds(before in life(0..40), after in life(0..40)) {
        let (mut world, mut replica) = (World::new(1, config()), StateReplica::default());
        world.live(&before);
        let snapshot = Arc::new(world.pool.snapshot());
        let reset = Arc::clone(&snapshot).frames().map(|frame| replica.apply(OWNER, frame)).last();
        prop_assert_eq!(Some(ApplyOutcome::Reset), reset);
        prop_assert_eq!(Contents::of(world.pool.pool_state()), Contents::of(replica.pool_state()));
        world.live(&after);
        catch_up(&mut replica, &world.pool);
        prop_assert_eq!(Contents::of(world.pool.pool_state()), Contents::of(replica.pool_state()));
    }

    #[test]
    fn the_sums_kept_up_are_those_computed_anew(steps in life(1..80)) {
        let mut world = World::new(1, config());
        for step in &steps {
            world.step(step);
            let anew = rebuilt(&world.pool.snapshot());
            prop_assert_eq!(Contents::of(world.pool.pool_state()), Contents::of(&anew));
        }
    }
}

#[test]
fn nothing_left_sums_up_to_nothing() {
    let mut world = World::new(1, config());
    world.pool = pool_of(3, config());
    let empty = World::new(1, config());
    world.pool.fold(0, PoolInput::Spec(crate::support::pool_spec([])));
    assert_eq!(Contents::of(empty.pool.pool_state()), Contents::of(world.pool.pool_state()));
}

#[test]
fn a_member_that_differs_in_any_part_sums_up_otherwise() {
    let pool = pool_of(1, config());
    let member = pool.pool_state().endpoints().next().unwrap();
    let digest = |edit: &dyn Fn(&mut signalbox_state::EndpointState)| {
        let mut edited = (**member).clone();
        edit(&mut edited);
        signalbox_state::PoolState::from_parts(vec![edited], Vec::new(), Vec::new(), &Arc::default())
            .unwrap()
            .digest()
    };
    let edits: [&dyn Fn(&mut signalbox_state::EndpointState); 6] = [
        &|member| Arc::make_mut(&mut member.spec).metrics_url.push('x'),
        &|member| drop(Arc::make_mut(&mut member.spec).labels.insert("a".to_owned(), "b".to_owned())),
        &|member| member.observed.unbooked_requests = 1,
        &|member| member.observed.scrape_status_since_ms = 1,
        &|member| member.adapters = Some(Arc::default()),
        &|member| {
            let load = signalbox_types::Load { requests: 1, prefills: 0, prefill_tokens: 0 };
            member.loads.push((Origin(1), load));
        },
    ];
    for edit in edits {
        assert_eq!(1, digest(edit).differing(&pool.pool_state().digest()).len());
    }
}

#[test]
fn models_that_differ_in_any_part_sum_up_otherwise() {
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
fn what_a_pool_says_of_models_is_told_once_and_shown() {
    let mut pool = pool_of(1, config());
    let mut replica = StateReplica::default();
    catch_up(&mut replica, &pool);
    let spec = |said: u8| {
        let spec = crate::support::pool_spec([crate::support::endpoint_spec(0, 0)]);
        PoolInput::Spec(signalbox_types::PoolSpec { models: models(said), ..spec })
    };
    let seq = |pool: &signalbox_state::Pool| pool.journal().head().seq;
    let before = seq(&pool);
    pool.fold(0, spec(1));
    pool.fold(0, spec(1));
    assert_eq!(before + 1, seq(&pool));
    assert!(!catch_up(&mut replica, &pool));
    let bookings = signalbox_state::Bookings::new(Arc::new(|| {}));
    let view = signalbox_state::View::next(&signalbox_state::View::default(), &replica, &bookings, 0);
    assert_eq!((models(1), -1), (Arc::clone(&view.models), view.models.priority(Some("objective-1"))));
    pool.fold(0, spec(0));
    assert_eq!(before + 2, seq(&pool));
    catch_up(&mut replica, &pool);
    assert!(replica.pool_state().models().is_empty());
}

#[test]
fn the_blocks_of_a_snapshot_travel_in_entries_of_bounded_size() {
    let config = signalbox_state::PoolConfig { assumed_kv_tokens: 1 << 20, ..config() };
    let mut pool = pool_of(40, config);
    let suffix: Arc<[_]> = (1..=30_000).map(signalbox_types::BlockHash).collect();
    let placements = (0..40).map(|index| signalbox_state::Placement {
        number: index as u64 + 1,
        endpoint: crate::support::endpoint(index),
        incarnation: signalbox_types::Incarnation(0),
        anchor: signalbox_types::BlockHash::ROOT,
        suffix: Arc::clone(&suffix),
    });
    pool.fold(0, PoolInput::Feedback(crate::feedback::batch(1, 1, Vec::new(), placements.collect())));
    let snapshot = pool.snapshot();
    let size = |entry: &Arc<SnapshotEntry>| match &**entry {
        SnapshotEntry::Runs(runs) => runs
            .iter()
            .fold((0, 0), |(blocks, holders), run| (blocks + run.blocks.len(), holders + run.placed.len())),
        SnapshotEntry::Endpoint(_) | SnapshotEntry::Origin(..) | SnapshotEntry::Models(_) => (0, 0),
    };
    let sizes: Vec<(usize, usize)> = snapshot.entries.iter().map(size).collect();
    assert_eq!(30_000, sizes.iter().map(|(blocks, _)| blocks).sum::<usize>());
    assert!(sizes.iter().all(|(blocks, holders)| blocks * 8 + holders * 16 <= 60_000), "{sizes:?}");
    let mut replica = StateReplica::default();
    catch_up(&mut replica, &pool);
    assert_eq!(Contents::of(pool.pool_state()), Contents::of(replica.pool_state()));
}
