//! A follower may be behind but is never wrong, even if frames are lost, repeated, reordered or mixed.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, proptest};
use proptest::sample::Index;
use proptest::test_runner::TestCaseError;
use signalbox_state::{ApplyOutcome, CatchUp, Change, Frame, Gap, PoolState, Snapshot, StateReplica};
use signalbox_types::{Format, Origin, Version};

use crate::fixtures::random_steps::{Step, history};
use crate::fixtures::simulated_pool::SimulatedPool;
use crate::fixtures::state_contents::{Contents, rebuild};
use crate::fixtures::{OWNER, catch_up, config, heartbeat};

/// The state of two owners of one pool at each of their versions, and all frames that they sent.
#[derive(Debug, Default)]
struct SentFrames {
    states: BTreeMap<Version, Contents>,
    frames: Vec<Frame>,
}

impl SentFrames {
    /// Records the state at the head, and the frames that may be sent for it.
    fn record(&mut self, simulated: &SimulatedPool, snapshot: bool) {
        self.states.insert(simulated.pool.journal().head(), Contents::of(simulated.pool.pool_state()));
        self.frames.push(heartbeat(&simulated.pool));
        if snapshot {
            self.frames.extend(Arc::new(simulated.pool.snapshot()).frames());
        }
    }

    fn live(&mut self, simulated: &mut SimulatedPool, steps: &[Step]) {
        for (at, step) in steps.iter().enumerate() {
            let before = simulated.pool.snapshot();
            simulated.step(step);
            if let CatchUp::Frame(Frame::Delta { epoch, from, changes, .. }) =
                simulated.pool.journal().since(before.version)
            {
                let changes: Vec<_> = changes.iter().cloned().collect();
                self.record_each(&before, &changes);
                self.send(epoch, from, &changes);
            }
            self.record(simulated, at % 5 == 0);
        }
    }

    /// Records the state after each change, because one step can make several.
    fn record_each(&mut self, before: &Snapshot, changes: &[Change]) {
        let mut pool_state = rebuild(before);
        let Version { epoch, seq } = before.version;
        for (seq, change) in (seq + 1..).zip(changes) {
            pool_state.apply(seq, change).expect("the change fits");
            self.states.insert(Version { epoch, seq }, Contents::of(&pool_state));
        }
    }

    /// Records the changes as one delta and as two.
    fn send(&mut self, epoch: u64, from: u64, changes: &[Change]) {
        let (first, second) = changes.split_at(changes.len() / 2);
        let cut = from + first.len() as u64;
        for (from, changes) in [(from, first), (cut, second), (from, changes)] {
            let to = from + changes.len() as u64;
            self.frames.push(Frame::Delta { epoch, from, to, changes: changes.to_vec().into() });
        }
    }
}

/// Runs `shared` under epoch 1, then `old` under epoch 1 and, concurrently, `new` under epoch 2.
fn two_owners(shared: &[Step], old: &[Step], new: &[Step]) -> (SentFrames, SimulatedPool) {
    let mut sent = SentFrames::default();
    let mut earlier = SimulatedPool::new(1, config());
    sent.record(&earlier, true);
    sent.live(&mut earlier, shared);
    sent.live(&mut earlier, old);
    let mut simulated = SimulatedPool::new(1, config());
    simulated.run(shared);
    let base = simulated.pool.journal().head();
    simulated.pool.begin_epoch(2);
    sent.frames.push(Frame::EpochChange { from: base, epoch: 2 });
    sent.record(&simulated, true);
    sent.live(&mut simulated, new);
    (sent, simulated)
}

/// A list of deliveries, each of a few consecutive frames out of all that were sent.
fn deliveries() -> impl Strategy<Value = Vec<(Index, usize)>> {
    vec((any::<Index>(), 1_usize..12), 1..40)
}

fn deliver(
    replica: &mut StateReplica,
    sent: &SentFrames,
    deliveries: &[(Index, usize)],
) -> Result<Vec<ApplyOutcome>, TestCaseError> {
    let mut outcomes = Vec::new();
    for (first, count) in deliveries {
        for frame in sent.frames.iter().skip(first.index(sent.frames.len())).take(*count) {
            let before = replica.version();
            let outcome = replica.apply(OWNER, frame.clone());
            prop_assert!(
                !matches!(outcome, ApplyOutcome::Gap(Gap::Change(_) | Gap::Digest(_))),
                "{:?}",
                outcome
            );
            prop_assert!(replica.version() >= before || before.is_none());
            if let Some(version) = replica.cursor() {
                prop_assert_eq!(&sent.states[&version], &Contents::of(replica.pool_state()));
            }
            outcomes.push(outcome);
        }
    }
    Ok(outcomes)
}

proptest! {
    #[test]
    fn a_follower_is_never_wrong_and_can_always_be_helped(
        shared in history(0..12),
        old in vec(crate::fixtures::random_steps::step(), 0..10),
        new in vec(crate::fixtures::random_steps::step(), 0..10),
        deliveries in deliveries(),
    ) {
        let (sent, simulated) = two_owners(&shared, &old, &new);
        let mut replica = StateReplica::default();
        deliver(&mut replica, &sent, &deliveries)?;
        replica.discard_partial_snapshot(OWNER);
        catch_up(&mut replica, &simulated.pool);
        prop_assert_eq!(Contents::of(simulated.pool.pool_state()), Contents::of(replica.pool_state()));
    }
}

/// Returns the frames of a snapshot at `version` with one entry.
fn snapshot(version: Version, acknowledged: u64) -> Vec<Frame> {
    let mut pool_state = PoolState::default();
    pool_state.apply(1, &Change::Acknowledged { origin: Origin(1), number: acknowledged }).unwrap();
    Arc::new(Snapshot::capture(&pool_state, version, Format::default())).frames().collect()
}

#[test]
fn end_of_one_snapshot_does_not_complete_another() {
    let (old, new) = (Version { epoch: 1, seq: 9 }, Version { epoch: 2, seq: 9 });
    let [_, entry, done] = &snapshot(old, 3)[..] else { panic!("one entry") };
    let mut replica = StateReplica::default();
    replica.apply(OWNER, Frame::SnapshotBegin { version: new, format: Format::default() });
    replica.apply(OWNER, entry.clone());
    assert_eq!(ApplyOutcome::Gap(Gap::Snapshot), replica.apply(OWNER, done.clone()));
    assert_eq!(None, replica.version());
}

#[test]
fn entries_of_two_snapshots_do_not_mix() {
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
fn blocks_of_an_unknown_endpoint_are_detected() {
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
fn partial_snapshot_is_not_completed_by_the_next_stream() {
    let frames = snapshot(Version { epoch: 1, seq: 8 }, 3);
    let mut replica = StateReplica::default();
    replica.apply(OWNER, frames[0].clone());
    replica.discard_partial_snapshot(OWNER);
    assert_eq!(ApplyOutcome::Gap(Gap::Order), replica.apply(OWNER, frames[1].clone()));
    assert_eq!(ApplyOutcome::Gap(Gap::Order), replica.apply(OWNER, frames[2].clone()));
}

#[test]
fn diverged_replica_accepts_only_a_snapshot_even_an_older_one_of_its_epoch() {
    let version = Version { epoch: 1, seq: 8 };
    let mut replica = StateReplica::default();
    snapshot(version, 3).into_iter().for_each(|frame| drop(replica.apply(OWNER, frame)));
    let digest = signalbox_state::Digest { loads: 1, ..replica.pool_state().digest() };
    let heartbeat = Frame::Heartbeat { epoch: 1, seq: 8, now_ms: 0, digest };
    assert_eq!(ApplyOutcome::Gap(Gap::Digest(vec!["loads"])), replica.apply(OWNER, heartbeat));
    assert_eq!((Some(version), None), (replica.version(), replica.cursor()));
    let change = Change::Acknowledged { origin: Origin(1), number: 4 };
    let delta = Frame::Delta { epoch: 1, from: 8, to: 9, changes: vec![change].into() };
    assert_eq!(ApplyOutcome::Gap(Gap::Order), replica.apply(OWNER, delta));
    assert_eq!(
        ApplyOutcome::Gap(Gap::Order),
        replica.apply(OWNER, Frame::EpochChange { from: version, epoch: 2 })
    );
    let older = Version { epoch: 1, seq: 7 };
    let outcome = snapshot(older, 2).into_iter().map(|frame| replica.apply(OWNER, frame)).last();
    assert_eq!((Some(ApplyOutcome::Reset), Some(older)), (outcome, replica.cursor()));
}
