//! What followers report about the owner that they hear, and when a standby replaces an owner that still
//! holds its lease.

use std::sync::Arc;

use signalbox_state::{
    ClaimResult, Cursor, Follower, FollowerEffect, FollowerEvent, Frame, FrameSource, FromAggregator,
    FromFollower, HeardOwner, JournalBounds, JournaledReplica, ObservedOwner, Pool, PoolRole, PoolRoleConfig,
    RoleEffect, RoleInput, RoleStatus,
};

use crate::fixtures::{OWNER, config, endpoint_spec, heartbeat, pool_of, pool_spec, role_config};

const STANDBYS: [FrameSource; 2] = [FrameSource::Aggregator(2), FrameSource::Aggregator(3)];

/// The number of the stream from the standby under test to the owner.
const OWNER_STREAM: u64 = 1;

/// How long after the loss of an owner it is replaced at the latest, in milliseconds.
const REPLACED_WITHIN_MS: u64 = 1_600;

fn received(frame: Frame) -> FollowerEvent {
    FollowerEvent::Received(FromAggregator::Frame(frame))
}

fn not_owner() -> FollowerEvent {
    FollowerEvent::Received(FromAggregator::NotOwner { epoch: 1 })
}

/// Returns everything that a new follower receives from the owner of `pool`.
fn first_frames(pool: &Pool) -> Vec<FollowerEvent> {
    Arc::new(pool.snapshot()).frames().chain([heartbeat(pool)]).map(received).collect()
}

/// Returns a follower of the owner of epoch 1 and of two standbys.
fn follower_at(now_ms: u64, pool: &Pool) -> Follower {
    let mut follower = Follower::new(JournaledReplica::new(JournalBounds::default()));
    for source in [OWNER, STANDBYS[0], STANDBYS[1]] {
        follower.handle(now_ms, source, FollowerEvent::Connected);
    }
    first_frames(pool).into_iter().for_each(|event| drop(follower.handle(now_ms, OWNER, event)));
    STANDBYS.iter().for_each(|standby| drop(follower.handle(now_ms, *standby, not_owner())));
    follower
}

/// Returns which owners the follower reports to which aggregators.
fn reports(effects: &[FollowerEffect]) -> Vec<(FrameSource, HeardOwner)> {
    let report = |effect: &FollowerEffect| match effect {
        FollowerEffect::Send(to, FromFollower::Cursor(cursor)) => Some((*to, cursor.heard)),
        _ => None,
    };
    effects.iter().filter_map(report).collect()
}

#[test]
fn follower_reports_the_end_of_the_owner_s_stream_to_all_standbys_at_once() {
    let pool = pool_of(1, config());
    let mut follower = follower_at(1_000, &pool);
    assert_eq!(
        vec![(STANDBYS[0], HeardOwner::Epoch(1))],
        reports(&follower.handle(1_050, STANDBYS[0], not_owner()))
    );
    let effects = follower.handle(1_100, OWNER, FollowerEvent::Disconnected);
    assert_eq!(STANDBYS.map(|standby| (standby, HeardOwner::Nobody)).to_vec(), reports(&effects));
    assert!(reports(&follower.handle(1_150, OWNER, FollowerEvent::Disconnected)).is_empty());
    follower.handle(1_200, OWNER, FollowerEvent::Connected);
    let effects = follower.handle(1_250, OWNER, received(heartbeat(&pool)));
    assert_eq!(STANDBYS.map(|standby| (standby, HeardOwner::Epoch(1))).to_vec(), reports(&effects));
}

#[test]
fn follower_does_not_report_an_owner_that_steps_down() {
    let mut follower = follower_at(1_000, &pool_of(1, config()));
    assert_eq!(vec![(OWNER, HeardOwner::Nobody)], reports(&follower.handle(1_050, OWNER, not_owner())));
}

#[test]
fn follower_reports_a_silent_owner_to_all_standbys_with_the_next_message_of_one() {
    let mut follower = follower_at(1_000, &pool_of(1, config()));
    (1_200..2_000).step_by(200).for_each(|now_ms| drop(follower.handle(now_ms, STANDBYS[0], not_owner())));
    let effects = follower.handle(1_999, STANDBYS[0], not_owner());
    assert_eq!(vec![(STANDBYS[0], HeardOwner::Epoch(1))], reports(&effects));
    let effects = follower.handle(2_000, STANDBYS[1], not_owner());
    let silent = |standby| (standby, HeardOwner::Nobody);
    assert_eq!(vec![silent(STANDBYS[1]), silent(STANDBYS[0])], reports(&effects));
}

/// The only standby of an owner, at time zero.
struct Standby {
    role: PoolRole,
    pool: Pool,
    now_ms: u64,
    claims: Vec<Option<u64>>,
}

impl Standby {
    fn start() -> Self {
        let role = PoolRole::new(role_config("a"), pool_spec([endpoint_spec(0, 0)]));
        let mut standby = Self { role, pool: pool_of(1, config()), now_ms: 0, claims: Vec::new() };
        standby.handle(RoleInput::Candidates(vec!["a".to_owned(), "o".to_owned()]));
        standby.handle(RoleInput::OwnerObserved(ObservedOwner::Other { name: "o".to_owned(), epoch: 1 }));
        standby.handle(RoleInput::PeerEvent(OWNER_STREAM, FollowerEvent::Connected));
        for event in first_frames(&standby.pool) {
            standby.handle(RoleInput::PeerEvent(OWNER_STREAM, event));
        }
        standby
    }

    fn handle(&mut self, input: RoleInput) {
        let effects = self.role.handle(self.now_ms, input);
        self.claims.extend(effects.into_iter().filter_map(|effect| match effect {
            RoleEffect::Claim { replacing, .. } => Some(replacing),
            _ => None,
        }));
    }

    /// A follower that holds the owner's whole state reports the owner that it hears.
    fn report(&mut self, follower: u64, heard: HeardOwner) {
        let version = Some(self.pool.journal().head());
        let cursor =
            FromFollower::Cursor(Cursor { version, epoch: self.role.epoch(), heard, ..Cursor::default() });
        self.handle(RoleInput::FollowerMessage(follower, cursor));
    }

    fn owner_speaks(&mut self) {
        self.handle(RoleInput::PeerEvent(OWNER_STREAM, received(heartbeat(&self.pool))));
    }

    /// Lets time pass, in which the followers report what they hear ten times a second.
    fn pass(&mut self, ms: u64, heard: &[(u64, HeardOwner)]) {
        for _ in 0..ms / 100 {
            self.now_ms += 100;
            heard.iter().for_each(|(follower, heard)| self.report(*follower, *heard));
            self.handle(RoleInput::Tick);
        }
    }
}

#[test]
fn standby_replaces_an_owner_that_nobody_hears() {
    let mut standby = Standby::start();
    standby.report(7, HeardOwner::Epoch(1));
    standby.handle(RoleInput::PeerEvent(OWNER_STREAM, FollowerEvent::Disconnected));
    standby.pass(5_000, &[(7, HeardOwner::Epoch(1))]);
    assert!(standby.claims.is_empty(), "a follower hears the owner: {:?}", standby.claims);
    standby.pass(300, &[(7, HeardOwner::Nobody)]);
    assert_eq!(vec![Some(1)], standby.claims);
    standby.handle(RoleInput::ClaimAnswered(ClaimResult::Won { epoch: 2, is_first: false }));
    standby.report(7, HeardOwner::Nobody);
    assert_eq!(RoleStatus::Owner(2), standby.role.status());
}

#[test]
fn standby_replaces_an_owner_that_is_silent_on_an_open_stream() {
    let mut standby = Standby::start();
    standby.pass(REPLACED_WITHIN_MS, &[(7, HeardOwner::Nobody)]);
    assert_eq!(vec![Some(1)], standby.claims);
}

#[test]
fn standby_that_hears_the_owner_does_not_replace_it() {
    let mut standby = Standby::start();
    for _ in 0..20 {
        standby.owner_speaks();
        standby.pass(500, &[(7, HeardOwner::Nobody), (8, HeardOwner::Nobody)]);
    }
    assert!(standby.claims.is_empty(), "{:?}", standby.claims);
}

#[test]
fn standby_without_followers_or_with_one_that_has_not_reported_waits_for_the_lease() {
    let mut standby = Standby::start();
    standby.handle(RoleInput::PeerEvent(OWNER_STREAM, FollowerEvent::Disconnected));
    standby.pass(5_000, &[]);
    standby.handle(RoleInput::FollowerJoined(8, "b".to_owned()));
    standby.pass(5_000, &[(7, HeardOwner::Nobody)]);
    assert!(standby.claims.is_empty(), "{:?}", standby.claims);
    standby.handle(RoleInput::OwnerObserved(ObservedOwner::Nobody));
    assert_eq!(vec![None], standby.claims);
}

#[test]
fn standby_that_never_heard_the_owner_waits_for_the_lease() {
    let mut standby = Standby::start();
    standby.handle(RoleInput::PeerEvent(OWNER_STREAM, FollowerEvent::Disconnected));
    standby.handle(RoleInput::OwnerObserved(ObservedOwner::Other { name: "b".to_owned(), epoch: 2 }));
    standby.pass(5_000, &[(7, HeardOwner::Nobody)]);
    assert!(standby.claims.is_empty(), "{:?}", standby.claims);
}

#[test]
fn owner_that_resumes_after_it_was_replaced_steps_down() {
    let config = PoolRoleConfig { takeover_wait_ms: 0, ..role_config("o") };
    let mut role = PoolRole::new(config, pool_spec([endpoint_spec(0, 0)]));
    role.handle(0, RoleInput::OwnerObserved(ObservedOwner::Nobody));
    role.handle(0, RoleInput::ClaimAnswered(ClaimResult::Won { epoch: 1, is_first: true }));
    assert_eq!(RoleStatus::Owner(1), role.status());
    let effects = role
        .handle(20_000, RoleInput::OwnerObserved(ObservedOwner::Other { name: "a".to_owned(), epoch: 2 }));
    assert_eq!(RoleStatus::Standby, role.status());
    let releases = effects.iter().filter(|effect| **effect == RoleEffect::Release);
    assert_eq!(0, releases.count(), "the pool is no longer its own to release");
}
