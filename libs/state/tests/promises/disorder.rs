//! However frames are lost, repeated, reordered or mixed: a follower is never wrong, only behind.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, proptest};
use proptest::sample::Index;
use proptest::test_runner::TestCaseError;
use signalbox_state::{ApplyOutcome, CatchUp, Change, Frame, Gap, PoolState, Snapshot, StateReplica};
use signalbox_types::{Format, Origin, Version};

use crate::support::contents::{Contents, rebuilt};
use crate::support::steps::{Step, life};
use crate::support::world::World;
use crate::support::{OWNER, beat, catch_up, config};

/// What two owners of one pool hold at each of their versions, and all that they sent.
#[derive(Debug, Default)]
struct Past {
    states: BTreeMap<Version, Contents>,
    frames: Vec<Frame>,
}

impl Past {
    /// Notes what is held at the head, and what may be sent of it.
    fn watch(&mut self, world: &World, snapshot: bool) {
        self.states.insert(world.pool.journal().head(), Contents::of(world.pool.pool_state()));
        self.frames.push(beat(&world.pool));
        if snapshot {
            self.frames.extend(Arc::new(world.pool.snapshot()).frames());
        }
    }

    fn live(&mut self, world: &mut World, steps: &[Step]) {
        for (at, step) in steps.iter().enumerate() {
            let before = world.pool.snapshot();
            world.step(step);
            if let CatchUp::Frame(Frame::Delta { epoch, from, changes, .. }) =
                world.pool.journal().since(before.version)
            {
                self.watch_between(&before, &changes);
                self.send(epoch, from, &changes);
            }
            self.watch(world, at % 5 == 0);
        }
    }

    /// One step can make several changes: notes what is held after each.
    fn watch_between(&mut self, before: &Snapshot, changes: &[Arc<Change>]) {
        let mut pool_state = rebuilt(before);
        let Version { epoch, seq } = before.version;
        for (seq, change) in (seq + 1..).zip(changes) {
            pool_state.apply(seq, change).expect("the change fits");
            self.states.insert(Version { epoch, seq }, Contents::of(&pool_state));
        }
    }

    /// The changes in one delta, and in two.
    fn send(&mut self, epoch: u64, from: u64, changes: &[Arc<Change>]) {
        let (first, second) = changes.split_at(changes.len() / 2);
        let cut = from + first.len() as u64;
        for (from, changes) in [(from, first), (cut, second), (from, changes)] {
            let to = from + changes.len() as u64;
            self.frames.push(Frame::Delta { epoch, from, to, changes: changes.to_vec() });
        }
    }
}

/// Epoch 1 lives `shared`; then it lives `old` while epoch 2 takes over and lives `new`.
fn two_epochs(shared: &[Step], old: &[Step], new: &[Step]) -> (Past, World) {
    let mut past = Past::default();
    let mut deposed = World::new(1, config());
    past.watch(&deposed, true);
    past.live(&mut deposed, shared);
    past.live(&mut deposed, old);
    let mut world = World::new(1, config());
    world.live(shared);
    let base = world.pool.journal().head();
    world.pool.turn(2);
    past.frames.push(Frame::EpochChange { from: base, epoch: 2 });
    past.watch(&world, true);
    past.live(&mut world, new);
    (past, world)
}

/// A wish to deliver some consecutive frames, out of all that were ever sent.
fn deliveries() -> impl Strategy<Value = Vec<(Index, usize)>> {
    vec((any::<Index>(), 1_usize..12), 1..40)
}

fn deliver(
    replica: &mut StateReplica,
    past: &Past,
    deliveries: &[(Index, usize)],
) -> Result<Vec<ApplyOutcome>, TestCaseError> {
    let mut outcomes = Vec::new();
    for (first, count) in deliveries {
        for frame in past.frames.iter().skip(first.index(past.frames.len())).take(*count) {
            let before = replica.version();
            let outcome = replica.apply(OWNER, frame.clone());
            prop_assert!(
                !matches!(outcome, ApplyOutcome::Gap(Gap::Change(_) | Gap::Digest(_))),
                "{:?}",
                outcome
            );
            prop_assert!(replica.version() >= before || before.is_none());
            if let Some(version) = replica.cursor() {
                prop_assert_eq!(&past.states[&version], &Contents::of(replica.pool_state()));
            }
            outcomes.push(outcome);
        }
    }
    Ok(outcomes)
}

proptest! {
    #[test]
    fn a_follower_is_never_wrong_and_can_always_be_helped(
        shared in life(0..12),
        old in vec(crate::support::steps::step(), 0..10),
        new in vec(crate::support::steps::step(), 0..10),
        deliveries in deliveries(),
    ) {
        let (past, world) = two_epochs(&shared, &old, &new);
        let mut replica = StateReplica::default();
        deliver(&mut replica, &past, &deliveries)?;
        replica.disconnected(OWNER);
        catch_up(&mut replica, &world.pool);
        prop_assert_eq!(Contents::of(world.pool.pool_state()), Contents::of(replica.pool_state()));
    }
}

/// A snapshot with one entry that is not empty, at `version`.
fn snapshot(version: Version, acknowledged: u64) -> Vec<Frame> {
    let mut pool_state = PoolState::default();
    pool_state.apply(1, &Change::Acknowledged { origin: Origin(1), number: acknowledged }).unwrap();
    Arc::new(Snapshot::cut(&pool_state, version, Format::default())).frames().collect()
}

#[test]
fn the_end_of_one_owners_snapshot_does_not_complete_another_owners() {
    let (old, new) = (Version { epoch: 1, seq: 9 }, Version { epoch: 2, seq: 9 });
    let [_, entry, done] = &snapshot(old, 3)[..] else { panic!("one entry") };
    let mut replica = StateReplica::default();
    replica.apply(OWNER, Frame::SnapshotBegin { version: new, format: Format::default() });
    replica.apply(OWNER, entry.clone());
    assert_eq!(ApplyOutcome::Gap(Gap::Snapshot), replica.apply(OWNER, done.clone()));
    assert_eq!(None, replica.version());
}

#[test]
fn the_entries_of_two_snapshots_do_not_mix() {
    let (one, other) = (snapshot(Version { epoch: 1, seq: 8 }, 3), snapshot(Version { epoch: 1, seq: 9 }, 4));
    for mixed in
        [[&one[0], &one[1], &other[2]], [&one[0], &other[1], &one[2]], [&other[0], &one[1], &other[2]]]
    {
        let mut replica = StateReplica::default();
        let last = mixed.into_iter().map(|frame| replica.apply(OWNER, frame.clone())).last();
        assert_eq!((Some(ApplyOutcome::Gap(Gap::Snapshot)), None), (last, replica.version()));
    }
}

#[test]
fn blocks_of_an_endpoint_that_is_none_do_not_pass_unseen() {
    let placed = signalbox_prefix::PlacedRun { endpoint: signalbox_types::EndpointKey(1), end: 1, used: 5 };
    let run = signalbox_prefix::Run {
        parent: signalbox_types::BlockHash::ROOT,
        start: 0,
        blocks: [signalbox_types::BlockHash(7)].into(),
        placed: vec![placed],
        confirmed: Vec::new(),
    };
    let stray = PoolState::from_parts(Vec::new(), vec![run], Vec::new(), &Arc::default()).unwrap();
    assert_eq!(vec!["placements"], stray.digest().differing(&PoolState::default().digest()));
}

#[test]
fn a_half_sent_snapshot_is_not_completed_by_the_next_stream() {
    let frames = snapshot(Version { epoch: 1, seq: 8 }, 3);
    let mut replica = StateReplica::default();
    replica.apply(OWNER, frames[0].clone());
    replica.disconnected(OWNER);
    assert_eq!(ApplyOutcome::Gap(Gap::Order), replica.apply(OWNER, frames[1].clone()));
    assert_eq!(ApplyOutcome::Gap(Gap::Order), replica.apply(OWNER, frames[2].clone()));
}

#[test]
fn what_has_diverged_waits_for_a_snapshot_and_takes_an_older_one_of_its_epoch() {
    let version = Version { epoch: 1, seq: 8 };
    let mut replica = StateReplica::default();
    snapshot(version, 3).into_iter().for_each(|frame| drop(replica.apply(OWNER, frame)));
    let digest = signalbox_state::Digest { loads: 1, ..replica.pool_state().digest() };
    let beat = Frame::Heartbeat { epoch: 1, seq: 8, now_ms: 0, digest };
    assert_eq!(ApplyOutcome::Gap(Gap::Digest(vec!["loads"])), replica.apply(OWNER, beat));
    assert_eq!((Some(version), None), (replica.version(), replica.cursor()));
    let change = Arc::new(Change::Acknowledged { origin: Origin(1), number: 4 });
    let delta = Frame::Delta { epoch: 1, from: 8, to: 9, changes: vec![change] };
    assert_eq!(ApplyOutcome::Gap(Gap::Order), replica.apply(OWNER, delta));
    assert_eq!(
        ApplyOutcome::Gap(Gap::Order),
        replica.apply(OWNER, Frame::EpochChange { from: version, epoch: 2 })
    );
    let older = Version { epoch: 1, seq: 7 };
    let outcome = snapshot(older, 2).into_iter().map(|frame| replica.apply(OWNER, frame)).last();
    assert_eq!((Some(ApplyOutcome::Reset), Some(older)), (outcome, replica.cursor()));
}
