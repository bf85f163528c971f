//! An owner that started with nothing inherits from a follower that connects only then.

use std::sync::Arc;

use signalbox_state::{
    ClaimResult, CollectorStream, Cursor, Feedback, Follower, FollowerEffect, FollowerEvent, FollowerPoll,
    Frame, FrameSource, FromAggregator, FromFollower, GaugeScope, HeardOwner, JournalBounds,
    JournaledReplica, ObservedOwner, PollReply, PollWant, Pool, PoolEffect, PoolInput, PoolRole, PoolState,
    RoleEffect, RoleInput, RoleStatus,
};
use signalbox_types::{Incarnation, Origin, Version};

use crate::fixtures::{
    OWNER, config, endpoint, endpoint_spec, heartbeat, placement, pool_of, pool_spec, role_config,
};

/// The stream of the follower that holds the state of the earlier owner.
const REPLICA: u64 = 7;

/// The aggregator on the follower's side.
const AGGREGATOR: FrameSource = FrameSource::Aggregator(2);

/// Returns a replica that holds everything of `pool`, which is gone since.
fn replica_of(pool: &Pool) -> Follower {
    let mut replica = Follower::new(JournaledReplica::new(JournalBounds::default()));
    replica.handle(0, OWNER, FollowerEvent::Connected);
    for frame in Arc::new(pool.snapshot()).frames().chain([heartbeat(pool)]) {
        replica.handle(0, OWNER, FollowerEvent::Received(FromAggregator::Frame(frame)));
    }
    replica.handle(0, OWNER, FollowerEvent::Disconnected);
    replica
}

fn blocks(pool_state: &PoolState) -> usize {
    pool_state.index_writer().index().len()
}

/// Returns the pool of an earlier owner under `epoch`, with a cached prompt.
fn earlier_pool(epoch: u64) -> Pool {
    let mut pool = pool_of(1, config());
    pool.begin_epoch(epoch);
    let placed = placement(1, endpoint(0), Incarnation(0), &[0, 1, 2, 0], 0);
    let feedback =
        Feedback { epoch, placements: vec![placed], ..Feedback::new(Origin(3), 1, GaugeScope::All) };
    pool.handle(0, PoolInput::Feedback(feedback));
    assert!(blocks(pool.pool_state()) > 0);
    pool
}

/// Returns an aggregator's role in the pool.
fn role(name: &str) -> PoolRole {
    PoolRole::new(role_config(name), pool_spec([endpoint_spec(0, 0)]))
}

/// An aggregator that owns the pool.
struct Owner {
    role: PoolRole,
    now_ms: u64,
    effects: Vec<RoleEffect>,
}

impl Owner {
    /// Starts with nothing under epoch 5.
    fn start() -> Self {
        Self::start_under(5)
    }

    fn start_under(epoch: u64) -> Self {
        let mut owner = Self { role: role("a"), now_ms: 0, effects: Vec::new() };
        owner.handle(RoleInput::OwnerObserved(ObservedOwner::Nobody));
        owner.handle(RoleInput::ClaimAnswered(ClaimResult::Won { epoch, is_first: true }));
        owner.handle(RoleInput::OwnerObserved(ObservedOwner::Own(epoch)));
        assert_eq!(RoleStatus::Owner(epoch), owner.role.status());
        owner
    }

    /// Loses the pool to a standby, which owns it under epoch 6. `replica` is connected to the standby before.
    fn lose_to_standby(self, replica: &mut Follower) -> Self {
        let pool = self.role.pool().expect("it owns the pool");
        let mut next = Self { role: role("b"), now_ms: self.now_ms, effects: Vec::new() };
        next.handle(RoleInput::PeerEvent(1, FollowerEvent::Connected));
        for frame in Arc::new(pool.snapshot()).frames().chain([heartbeat(pool)]) {
            let received = FollowerEvent::Received(FromAggregator::Frame(frame));
            next.handle(RoleInput::PeerEvent(1, received));
        }
        assert_eq!(self.role.version(), next.role.version());
        replica.handle(next.now_ms, AGGREGATOR, FollowerEvent::Connected);
        next.send_cursor(replica.replica().cursor());
        next.handle(RoleInput::PeerEvent(1, FollowerEvent::Disconnected));
        next.handle(RoleInput::OwnerObserved(ObservedOwner::Nobody));
        next.handle(RoleInput::ClaimAnswered(ClaimResult::Won { epoch: 6, is_first: false }));
        next.handle(RoleInput::OwnerObserved(ObservedOwner::Own(6)));
        next.pass(replica, 250);
        assert_eq!(RoleStatus::Owner(6), next.role.status());
        next
    }

    fn handle(&mut self, input: RoleInput) {
        self.effects.extend(self.role.handle(self.now_ms, input));
    }

    fn poll(&mut self, cursor: Version, want: PollWant) -> PollReply {
        self.role.poll(self.now_ms, FollowerPoll { follower: REPLICA, cursor, want })
    }

    fn send_cursor(&mut self, version: Option<Version>) {
        let cursor = Cursor { version, epoch: 1, heard: HeardOwner::Nobody, ..Cursor::default() };
        self.handle(RoleInput::FollowerMessage(REPLICA, FromFollower::Cursor(cursor)));
    }

    /// Hands a message of this aggregator to the replica, and its answers back. Stops after `most` answers.
    fn deliver(&mut self, replica: &mut Follower, message: FromAggregator, most: usize) {
        let effects = replica.handle(self.now_ms, AGGREGATOR, FollowerEvent::Received(message));
        let answers = effects.into_iter().filter_map(|effect| match effect {
            FollowerEffect::Send(AGGREGATOR, message) => Some(message),
            _ => None,
        });
        for answer in answers.take(most) {
            self.handle(RoleInput::FollowerMessage(REPLICA, answer));
        }
    }

    /// Returns how often it has claimed an epoch above this one.
    fn claims(&self, epoch: u64) -> usize {
        let is_claim =
            |effect: &&RoleEffect| matches!(effect, RoleEffect::Claim { above, .. } if *above == epoch);
        self.effects.iter().filter(is_claim).count()
    }

    /// Sends the replica what the owner has for it, as its stream does.
    fn send_next(&mut self, replica: &mut Follower, want: PollWant) {
        let cursor = replica.replica().cursor().unwrap_or_default();
        match self.poll(cursor, want) {
            PollReply::Current(Some(message)) => self.deliver(replica, message, usize::MAX),
            PollReply::Current(None) | PollReply::Later => {}
            PollReply::Frame(frame) => {
                self.deliver(replica, FromAggregator::Frame(frame), usize::MAX);
                self.send_next(replica, PollWant::Changes);
            }
            PollReply::Snapshot(snapshot) => {
                for frame in snapshot.frames() {
                    self.deliver(replica, FromAggregator::Frame(frame), usize::MAX);
                }
                self.send_next(replica, PollWant::Changes);
            }
        }
    }

    /// Lets time pass. The replica gets what the owner has for it, and answers.
    fn pass(&mut self, replica: &mut Follower, ms: u64) {
        for _ in 0..ms / 50 {
            self.now_ms += 50;
            self.handle(RoleInput::Tick);
            self.send_next(replica, PollWant::ChangesAndHeartbeat);
        }
    }
}

#[test]
fn cold_owner_continues_the_state_of_a_replica_that_connects_late() {
    let earlier = earlier_pool(1);
    let mut replica = replica_of(&earlier);
    let mut owner = Owner::start();
    owner.handle(RoleInput::Pool(PoolInput::CollectorJoined(CollectorStream(3), "c".to_owned())));
    owner.now_ms = 8_000;
    owner.handle(RoleInput::Tick);
    replica.handle(owner.now_ms, AGGREGATOR, FollowerEvent::Connected);
    owner.send_cursor(replica.replica().cursor());
    owner.pass(&mut replica, 1_000);
    assert_eq!(1, owner.claims(5), "{:?}", owner.effects);
    assert_eq!(Some(earlier.journal().head()), replica.replica().cursor(), "the replica keeps its state");
    owner.handle(RoleInput::ClaimAnswered(ClaimResult::Won { epoch: 6, is_first: false }));
    assert_eq!(RoleStatus::Owner(6), owner.role.status());
    assert_eq!(blocks(earlier.pool_state()), blocks(owner.role.pool_state()));
    let closed = RoleEffect::Pool(PoolEffect::CloseCollector(CollectorStream(3)));
    assert!(owner.effects.contains(&closed), "its collectors connect again");
    owner.pass(&mut replica, 200);
    assert_eq!(owner.role.version(), replica.replica().cursor());
    owner.pass(&mut replica, 60_000);
    assert_eq!((RoleStatus::Owner(6), 1), (owner.role.status(), owner.claims(5)));
}

#[test]
fn replica_that_does_not_deliver_gets_the_owners_state() {
    let mut replica = replica_of(&earlier_pool(1));
    let mut owner = Owner::start();
    replica.handle(0, AGGREGATOR, FollowerEvent::Connected);
    owner.send_cursor(replica.replica().cursor());
    let PollReply::Current(Some(request)) =
        owner.poll(replica.replica().cursor().unwrap(), PollWant::ChangesAndHeartbeat)
    else {
        panic!("no request")
    };
    assert_eq!(FromAggregator::FetchRequest { after: None }, request);
    owner.deliver(&mut replica, request, 1);
    owner.pass(&mut replica, 2_500);
    assert!(matches!(
        owner.poll(replica.replica().cursor().unwrap(), PollWant::ChangesAndHeartbeat),
        PollReply::Current(_)
    ));
    owner.pass(&mut replica, 1_000);
    assert_eq!((0, owner.role.version()), (owner.claims(5), replica.replica().cursor()));
}

#[test]
fn owner_that_inherited_or_is_old_gives_its_state_to_whoever_connects() {
    let mut replica = replica_of(&earlier_pool(1));
    let mut owner = Owner::start();
    owner.now_ms = 60_000;
    owner.handle(RoleInput::Tick);
    replica.handle(owner.now_ms, AGGREGATOR, FollowerEvent::Connected);
    owner.send_cursor(replica.replica().cursor());
    owner.pass(&mut replica, 100);
    assert_eq!((0, owner.role.version()), (owner.claims(5), replica.replica().cursor()));
}

#[test]
fn standby_that_replaces_a_cold_owner_inherits_in_its_place() {
    let earlier = earlier_pool(1);
    let mut replica = replica_of(&earlier);
    let mut next = Owner::start().lose_to_standby(&mut replica);
    next.pass(&mut replica, 1_000);
    assert_eq!(Some(earlier.journal().head()), replica.replica().cursor(), "the replica keeps its state");
    assert_eq!(1, next.claims(6), "{:?}", next.effects);
    next.handle(RoleInput::ClaimAnswered(ClaimResult::Won { epoch: 7, is_first: false }));
    assert_eq!(RoleStatus::Owner(7), next.role.status());
    assert_eq!(blocks(earlier.pool_state()), blocks(next.role.pool_state()));
    assert_eq!(0, next.role.pool_state().provisional_since());
    next.pass(&mut replica, 200);
    assert_eq!(next.role.version(), replica.replica().cursor());
}

#[test]
fn cold_owner_that_claims_the_pool_again_inherits_from_an_owner_in_between() {
    let between = earlier_pool(6);
    let mut replica = replica_of(&between);
    let mut owner = Owner::start();
    owner.handle(RoleInput::ClaimAnswered(ClaimResult::Won { epoch: 7, is_first: false }));
    replica.handle(owner.now_ms, AGGREGATOR, FollowerEvent::Connected);
    owner.send_cursor(replica.replica().cursor());
    owner.pass(&mut replica, 1_000);
    assert_eq!(1, owner.claims(7), "{:?}", owner.effects);
    owner.handle(RoleInput::ClaimAnswered(ClaimResult::Won { epoch: 8, is_first: false }));
    assert_eq!(blocks(between.pool_state()), blocks(owner.role.pool_state()));
}

#[test]
fn of_two_states_that_began_with_nothing_the_earlier_one_is_continued() {
    let earlier = Owner::start();
    let mut replica = replica_of(earlier.role.pool().expect("it owns the pool"));
    let mut owner = Owner::start_under(9);
    assert_eq!(9, owner.role.pool_state().provisional_since());
    replica.handle(0, AGGREGATOR, FollowerEvent::Connected);
    let cursor = Cursor { version: earlier.role.version(), provisional_since: 5, ..Cursor::default() };
    owner.handle(RoleInput::FollowerMessage(REPLICA, FromFollower::Cursor(cursor)));
    owner.pass(&mut replica, 1_000);
    assert_eq!(1, owner.claims(9), "{:?}", owner.effects);
    owner.handle(RoleInput::ClaimAnswered(ClaimResult::Won { epoch: 10, is_first: false }));
    assert_eq!(5, owner.role.pool_state().provisional_since(), "an even earlier one may be found");
    owner.pass(&mut replica, 60_000);
    assert_eq!((RoleStatus::Owner(10), 1), (owner.role.status(), owner.claims(9)));
    assert_eq!(0, owner.role.pool_state().provisional_since());
    assert_eq!(owner.role.version(), replica.replica().cursor());
}

#[test]
fn standby_continues_the_state_of_an_owner_that_could_not_inherit() {
    let mut replica = replica_of(&earlier_pool(1));
    let mut owner = Owner::start();
    assert_eq!(5, owner.role.pool_state().provisional_since());
    owner.now_ms = 60_000;
    owner.handle(RoleInput::Tick);
    assert_eq!(0, owner.role.pool_state().provisional_since());
    let mut next = owner.lose_to_standby(&mut replica);
    next.pass(&mut replica, 1_000);
    assert_eq!((0, next.role.version()), (next.claims(6), replica.replica().cursor()));
}

#[test]
fn follower_that_leaves_during_the_fetch_does_not_stop_the_owner() {
    let earlier = earlier_pool(1);
    let mut replica = replica_of(&earlier);
    let mut owner = Owner::start();
    replica.handle(0, AGGREGATOR, FollowerEvent::Connected);
    owner.send_cursor(replica.replica().cursor());
    let snapshot = Frame::SnapshotBegin { version: earlier.journal().head(), format: config().format };
    owner.handle(RoleInput::FollowerMessage(REPLICA, FromFollower::FetchReply(snapshot)));
    owner.handle(RoleInput::FollowerLeft(REPLICA));
    owner.now_ms = 4_000;
    owner.handle(RoleInput::Tick);
    assert_eq!((RoleStatus::Owner(5), 0), (owner.role.status(), owner.claims(5)));
}
