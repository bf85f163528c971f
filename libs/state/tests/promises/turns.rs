//! A change of owner: whoever is not ahead of the new one keeps what it holds.

use proptest::collection::vec;
use proptest::prelude::{any, prop_assert_eq, proptest};
use signalbox_state::{
    ClaimResult, Cursor, FollowerEvent, Frame, FromAggregator, FromFollower, ObservedOwner, PoolEffect,
    PoolInput, PoolRole, PoolRoleConfig, RoleEffect, RoleInput, RoleStatus, StateReplica,
};
use signalbox_types::Version;

use crate::support::contents::Contents;
use crate::support::steps::{life, step};
use crate::support::world::World;
use crate::support::{catch_up, config, endpoint_spec, pool_of, pool_spec};

proptest! {
    #[test]
    fn only_a_follower_ahead_of_the_base_takes_a_snapshot(
        shared in life(1..20),
        seen in any::<proptest::sample::Index>(),
        ahead in vec(step(), 0..10),
        later in vec(step(), 0..10),
        turns in 1_u64..4,
    ) {
        let mut deposed = World::new(1, config());
        let (mut behind, mut up_to_date) = (StateReplica::default(), StateReplica::default());
        for (at, step) in shared.iter().enumerate() {
            deposed.step(step);
            if at == seen.index(shared.len()) {
                catch_up(&mut behind, &deposed.pool);
            }
        }
        catch_up(&mut up_to_date, &deposed.pool);
        let base = deposed.pool.journal().head().seq;
        deposed.live(&ahead);

        let mut world = World::new(1, config());
        world.live(&shared);
        for epoch in 2..2 + turns {
            world.pool.turn(epoch);
            world.live(&later);
        }
        let mut too_far = StateReplica::default();
        catch_up(&mut too_far, &deposed.pool);
        let is_ahead = deposed.pool.journal().head().seq > base;
        for (follower, takes_snapshot) in [(behind, false), (up_to_date, false), (too_far, is_ahead)] {
            let mut follower = follower;
            prop_assert_eq!(takes_snapshot, catch_up(&mut follower, &world.pool));
            prop_assert_eq!(Some(world.pool.journal().head()), follower.cursor());
            prop_assert_eq!(Contents::of(world.pool.pool_state()), Contents::of(follower.pool_state()));
        }
    }
}

#[test]
fn a_turn_to_an_epoch_that_is_not_later_is_none() {
    let mut pool = pool_of(2, config());
    let head = pool.journal().head();
    pool.turn(1);
    pool.turn(0);
    assert_eq!(head, pool.journal().head());
    pool.turn(4);
    assert_eq!(Version { epoch: 4, seq: head.seq }, pool.journal().head());
}

#[test]
fn an_owner_says_when_it_hears_of_a_later_epoch_and_only_then() {
    let mut pool = pool_of(1, config());
    assert_eq!(vec![PoolEffect::Outranked(2)], pool.fold(0, PoolInput::EpochHeard(2)));
    assert!(pool.fold(0, PoolInput::EpochHeard(1)).is_empty());
    assert!(pool.fold(0, PoolInput::EpochHeard(0)).is_empty());
}

/// An aggregator that has claimed the pool under epoch 2 and holds what the owner of epoch 1 left.
fn takeover() -> PoolRole {
    let config = PoolRoleConfig {
        name: "a".to_owned(),
        pool_hash: 1,
        pool: config(),
        inherit_within_ms: 2_000,
        give_back_after_ms: 30_000,
    };
    let mut role = PoolRole::new(config, pool_spec([endpoint_spec(0, 0)]));
    let follower = |version| FromFollower::Cursor(Cursor { version, epoch: 1 });
    role.fold(0, RoleInput::Told(7, follower(None)));
    role.fold(0, RoleInput::ObservedOwner(ObservedOwner::Nobody));
    role.fold(0, RoleInput::ClaimResult(ClaimResult::Won { epoch: 2, is_first: false }));
    role
}

#[test]
fn an_heir_that_hears_of_a_later_owner_does_not_write_under_its_epoch() {
    let mut role = takeover();
    assert_eq!(RoleStatus::TakingOver(2), role.standing());
    let digest = role.pool_state().digest();
    let beat = Frame::Heartbeat { epoch: 3, seq: 9, now_ms: 1, digest };
    role.fold(10, RoleInput::FollowerEvent(1, FollowerEvent::Connected));
    role.fold(20, RoleInput::FollowerEvent(1, FollowerEvent::Said(FromAggregator::Frame(beat))));
    assert_eq!(RoleStatus::Standby, role.standing());
}

#[test]
fn an_heir_that_only_hears_of_a_later_epoch_takes_one_that_is_later_still() {
    let mut role = takeover();
    let told = FromFollower::Cursor(Cursor { version: None, epoch: 5 });
    role.fold(10, RoleInput::Told(7, told));
    let effects = role.fold(5_000, RoleInput::Tick);
    assert_eq!(RoleStatus::TakingOver(2), role.standing());
    let claims = [effects, role.fold(5_050, RoleInput::Tick)].concat();
    assert!(claims.contains(&RoleEffect::Claim { above: 5 }), "{claims:?}");
    role.fold(5_100, RoleInput::ClaimResult(ClaimResult::Won { epoch: 6, is_first: false }));
    assert_eq!(RoleStatus::Owner(6), role.standing());
}
