//! A change of owner: followers that are not ahead of the new owner keep their state.

use proptest::collection::vec;
use proptest::prelude::{any, prop_assert_eq, proptest};
use signalbox_state::{
    ClaimResult, Cursor, FollowerEvent, Frame, FromAggregator, FromFollower, ObservedOwner, PoolRole,
    RoleEffect, RoleInput, RoleStatus, StateReplica,
};
use signalbox_types::Version;

use crate::fixtures::random_steps::{history, step};
use crate::fixtures::simulated_pool::SimulatedPool;
use crate::fixtures::state_contents::Contents;
use crate::fixtures::{catch_up, config, endpoint_spec, pool_of, pool_spec, role_config};

proptest! {
    #[test]
    fn only_a_follower_ahead_of_the_epoch_change_takes_a_snapshot(
        shared in history(1..20),
        seen_at in any::<proptest::sample::Index>(),
        ahead in vec(step(), 0..10),
        later in vec(step(), 0..10),
        epoch_changes in 1_u64..4,
    ) {
        let mut earlier = SimulatedPool::new(1, config());
        let (mut behind, mut up_to_date) = (StateReplica::default(), StateReplica::default());
        for (at, step) in shared.iter().enumerate() {
            earlier.step(step);
            if at == seen_at.index(shared.len()) {
                catch_up(&mut behind, &earlier.pool);
            }
        }
        catch_up(&mut up_to_date, &earlier.pool);
        let base = earlier.pool.journal().head().seq;
        earlier.run(&ahead);

        let mut simulated = SimulatedPool::new(1, config());
        simulated.run(&shared);
        for epoch in 2..2 + epoch_changes {
            simulated.pool.begin_epoch(epoch);
            simulated.run(&later);
        }
        let mut too_far_ahead = StateReplica::default();
        catch_up(&mut too_far_ahead, &earlier.pool);
        let is_ahead = earlier.pool.journal().head().seq > base;
        for (follower, takes_snapshot) in [(behind, false), (up_to_date, false), (too_far_ahead, is_ahead)] {
            let mut follower = follower;
            prop_assert_eq!(takes_snapshot, catch_up(&mut follower, &simulated.pool));
            prop_assert_eq!(Some(simulated.pool.journal().head()), follower.cursor());
            prop_assert_eq!(Contents::of(simulated.pool.pool_state()), Contents::of(follower.pool_state()));
        }
    }
}

#[test]
fn epoch_that_is_not_higher_is_ignored() {
    let mut pool = pool_of(2, config());
    let head = pool.journal().head();
    pool.begin_epoch(1);
    pool.begin_epoch(0);
    assert_eq!(head, pool.journal().head());
    pool.begin_epoch(4);
    assert_eq!(Version { epoch: 4, seq: head.seq }, pool.journal().head());
}

/// Returns an aggregator that has claimed the pool under epoch 2 and follows one other process, which knows
/// epoch 1.
fn takeover() -> PoolRole {
    let mut role = PoolRole::new(role_config("a"), pool_spec([endpoint_spec(0, 0)]));
    let follower = |version| FromFollower::Cursor(Cursor { version, epoch: 1, ..Cursor::default() });
    role.handle(0, RoleInput::FollowerMessage(7, follower(None)));
    role.handle(0, RoleInput::OwnerObserved(ObservedOwner::Nobody));
    role.handle(0, RoleInput::ClaimAnswered(ClaimResult::Won { epoch: 2, is_first: false }));
    role
}

#[test]
fn new_owner_that_sees_a_later_owner_steps_down() {
    let mut role = takeover();
    assert_eq!(RoleStatus::TakingOver(2), role.status());
    let digest = role.pool_state().digest();
    let heartbeat = Frame::Heartbeat { epoch: 3, seq: 9, now_ms: 1, digest };
    role.handle(10, RoleInput::PeerEvent(1, FollowerEvent::Connected));
    role.handle(20, RoleInput::PeerEvent(1, FollowerEvent::Received(FromAggregator::Frame(heartbeat))));
    assert_eq!(RoleStatus::Standby, role.status());
}

#[test]
fn new_owner_that_sees_a_later_epoch_claims_an_even_later_one() {
    let (mut role, mut not_outranked) = (takeover(), takeover());
    let cursor = FromFollower::Cursor(Cursor { epoch: 5, ..Cursor::default() });
    let mut effects = role.handle(10, RoleInput::FollowerMessage(7, cursor));
    // After 2,000 ms it no longer waits for followers. After 2,010 ms it would step down, because its claim is not
    // answered.
    for now_ms in (100..=2_000).step_by(100) {
        effects.extend(role.handle(now_ms, RoleInput::Tick));
        not_outranked.handle(now_ms, RoleInput::Tick);
    }
    assert_eq!(RoleStatus::Owner(2), not_outranked.status());
    assert_eq!(RoleStatus::TakingOver(2), role.status());
    let claims = effects.iter().filter(|effect| matches!(effect, RoleEffect::Claim { .. }));
    assert_eq!(vec![&RoleEffect::Claim { above: 5, replacing: None }], claims.collect::<Vec<_>>());
    role.handle(2_005, RoleInput::ClaimAnswered(ClaimResult::Won { epoch: 6, is_first: false }));
    assert_eq!(RoleStatus::Owner(6), role.status());
}

/// Runs a role up to 2,000 ms after an input at 10 ms. Returns what it claims.
fn claims_after(role: &mut PoolRole, input: RoleInput) -> Vec<RoleEffect> {
    let mut effects = role.handle(10, input);
    for now_ms in (100..=2_000).step_by(100) {
        effects.extend(role.handle(now_ms, RoleInput::Tick));
    }
    effects.retain(|effect| matches!(effect, RoleEffect::Claim { .. }));
    effects
}

const LATER_CLAIM: RoleEffect = RoleEffect::Claim { above: 2, replacing: None };

fn holding(version: Version) -> RoleInput {
    let cursor = Cursor { version: Some(version), epoch: 2, ..Cursor::default() };
    RoleInput::FollowerMessage(7, FromFollower::Cursor(cursor))
}

/// A coordinator with an older history grants an epoch once more.
#[test]
fn new_owner_under_an_epoch_that_was_used_claims_a_later_one() {
    let mut role = takeover();
    assert_eq!(vec![LATER_CLAIM], claims_after(&mut role, holding(Version { epoch: 2, seq: 9 })));
    assert_eq!(RoleStatus::TakingOver(2), role.status());

    let mut role = takeover();
    role.handle(5, RoleInput::PeerEvent(1, FollowerEvent::Connected));
    let digest = role.pool_state().digest();
    let twin = FromAggregator::Frame(Frame::Heartbeat { epoch: 2, seq: 9, now_ms: 1, digest });
    let heard = RoleInput::PeerEvent(1, FollowerEvent::Received(twin));
    assert_eq!(vec![LATER_CLAIM], claims_after(&mut role, heard));
    role.handle(2_005, RoleInput::ClaimAnswered(ClaimResult::Won { epoch: 3, is_first: false }));
    assert_eq!(RoleStatus::Owner(3), role.status());
}

#[test]
fn owner_whose_epoch_was_used_by_another_claims_a_later_one() {
    let owner = || {
        let mut role = takeover();
        claims_after(&mut role, RoleInput::Tick);
        assert_eq!(RoleStatus::Owner(2), role.status());
        role
    };
    let head = owner().version().expect("an owner has a state");
    let mut role = owner();
    assert_eq!(Vec::<RoleEffect>::new(), claims_after(&mut role, holding(head)), "its own follower");
    let ahead = Version { seq: head.seq + 1_000, ..head };
    let mut role = owner();
    assert_eq!(vec![LATER_CLAIM], claims_after(&mut role, holding(ahead)));
}
