//! A process that stalled does not blame others: what they sent meanwhile waits to be handled.

use std::sync::Arc;

use proptest::prelude::{prop_assert, proptest};
use signalbox_state::{
    ClaimResult, CollectorStream, CountedEvent, Follower, FollowerEffect, FollowerEvent, FrameSource,
    FromAggregator, FromFollower, HeardOwner, JournalBounds, JournaledReplica, ObservedOwner, PoolEffect,
    PoolInput, PoolRole, PoolRoleConfig, RoleEffect, RoleInput, RoleStatus,
};
use signalbox_types::{Load, Origin};

use crate::feedback::full_batch;
use crate::fixtures::{OWNER, config, endpoint, endpoint_spec, heartbeat, pool_of, pool_spec, role_config};

const COLLECTOR: CollectorStream = CollectorStream(1);
const STANDBY: FrameSource = FrameSource::Aggregator(2);
const TICK_MS: u64 = 100;

/// An owner with one replica and one collector, which send something every 500 and 400 ms.
struct Owner {
    role: PoolRole,
    now_ms: u64,
    /// When the next messages are sent.
    sent_ms: u64,
    seq: u64,
    expired: usize,
}

impl Owner {
    fn start() -> Self {
        let pool = signalbox_state::PoolConfig { collector_ttl_ms: 2_000, ..config() };
        let role_config = PoolRoleConfig { pool, takeover_wait_ms: 0, ..role_config("a") };
        let role = PoolRole::new(role_config, pool_spec([endpoint_spec(0, 0)]));
        let mut owner = Self { role, now_ms: 0, sent_ms: 0, seq: 0, expired: 0 };
        owner.handle(RoleInput::OwnerObserved(ObservedOwner::Nobody));
        owner.handle(RoleInput::ClaimAnswered(ClaimResult::Won { epoch: 1, is_first: true }));
        owner.handle(RoleInput::OwnerObserved(ObservedOwner::Own(1)));
        assert_eq!(RoleStatus::Owner(1), owner.role.status());
        owner.handle(RoleInput::Pool(PoolInput::CollectorJoined(COLLECTOR, "one".to_owned())));
        owner.send_feedback();
        owner
    }

    fn handle(&mut self, input: RoleInput) {
        let is_expiry = |effect: &RoleEffect| {
            matches!(
                effect,
                RoleEffect::Pool(
                    PoolEffect::CloseCollector(_)
                        | PoolEffect::Expired(_)
                        | PoolEffect::Count(CountedEvent::OriginExpired(_))
                )
            )
        };
        let effects = self.role.handle(self.now_ms, input);
        self.expired += effects.iter().filter(|effect| is_expiry(effect)).count();
    }

    fn send_feedback(&mut self) {
        self.seq += 1;
        let gauges = vec![(endpoint(0), Load { requests: 2, prefills: 0, prefill_tokens: 0 })];
        self.handle(RoleInput::Pool(PoolInput::Feedback(full_batch(1, self.seq, gauges, Vec::new()))));
    }

    fn send_reports(&mut self) {
        self.handle(RoleInput::Pool(PoolInput::Reports(COLLECTOR, Vec::new())));
    }

    /// Handles what is sent in the next `ms` milliseconds: each message `late_ms` after it was sent.
    fn run(&mut self, ms: u64, late_ms: u64) {
        for _ in 0..ms / TICK_MS {
            self.now_ms = self.now_ms.max(self.sent_ms + late_ms);
            self.handle(RoleInput::Tick);
            if self.sent_ms.is_multiple_of(400) {
                self.send_reports();
            }
            if self.sent_ms.is_multiple_of(500) {
                self.send_feedback();
            }
            self.sent_ms += TICK_MS;
        }
    }
}

/// An aggregator handles ticks between the messages that wait, so ticks are on time whatever waits.
#[test]
fn a_message_that_waits_is_not_silence() {
    let mut owner = Owner::start();
    owner.run(1_000, 0);
    for waiting_ms in (0..10_000).step_by(TICK_MS as usize) {
        owner.now_ms += TICK_MS;
        owner.role.record_waiting(waiting_ms);
        owner.handle(RoleInput::Tick);
    }
    assert_eq!(0, owner.expired);
    owner.role.record_waiting(0);
    owner.handle(RoleInput::Tick);
    assert!(owner.expired > 0, "nothing waits, and nobody has sent anything");
}

proptest! {
    /// However long the stall, and whatever was handled last before it.
    #[test]
    fn an_owner_that_stalled_expires_nobody_who_spoke(before in 1_u64..20, stall_ms in 0_u64..60_000) {
        let mut owner = Owner::start();
        owner.run(before * TICK_MS, 0);
        // One tick waits before everything that was sent during the stall.
        owner.now_ms += stall_ms;
        owner.handle(RoleInput::Tick);
        owner.run(stall_ms + 1_000, 0);
        prop_assert!(owner.expired == 0, "{} expired", owner.expired);
    }

    /// The first message that is handled after the stall need not be a tick.
    #[test]
    fn a_backlog_expires_nobody_who_spoke(backlog_ms in 0_u64..10_000) {
        let mut owner = Owner::start();
        owner.run(1_000, 0);
        owner.now_ms += backlog_ms;
        owner.handle(RoleInput::EpochHeard(1));
        owner.run(5_000, backlog_ms);
        prop_assert!(owner.expired == 0, "{} expired", owner.expired);
    }
}

#[test]
fn who_is_silent_after_the_stall_expires() {
    let mut owner = Owner::start();
    owner.now_ms += 10_000;
    for _ in 0..32 {
        owner.now_ms += TICK_MS;
        owner.handle(RoleInput::Tick);
    }
    assert_eq!(2, owner.expired, "the collector and the origin");
    assert_eq!(0, owner.role.pool_state().loads().of(endpoint(0), Origin(1)).requests);
}

#[test]
fn a_follower_that_stalled_does_not_report_a_silent_owner() {
    let pool = pool_of(1, config());
    let mut follower = Follower::new(JournaledReplica::new(JournalBounds::default()));
    [OWNER, STANDBY].iter().for_each(|of| drop(follower.handle(0, *of, FollowerEvent::Connected)));
    for frame in Arc::new(pool.snapshot()).frames().chain([heartbeat(&pool)]) {
        follower.handle(0, OWNER, FollowerEvent::Received(FromAggregator::Frame(frame)));
    }
    let not_owner = || FollowerEvent::Received(FromAggregator::NotOwner { epoch: 1 });
    let heard = |effects: Vec<FollowerEffect>| match &effects[..] {
        [FollowerEffect::Send(_, FromFollower::Cursor(cursor))] => cursor.heard,
        other => panic!("{other:?}"),
    };
    assert_eq!(HeardOwner::Epoch(1), heard(follower.handle(100, STANDBY, not_owner())));
    assert_eq!(HeardOwner::Epoch(1), heard(follower.handle(2_100, STANDBY, not_owner())));
    // Nothing of the owner waited behind that message.
    let later: Vec<_> = (2_200..3_400)
        .step_by(100)
        .map(|now_ms| heard(follower.handle(now_ms, STANDBY, not_owner())))
        .collect();
    assert_eq!(Some(&HeardOwner::Nobody), later.last());
}
