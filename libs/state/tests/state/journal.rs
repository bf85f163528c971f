//! Followers within the kept history catch up from the journal; all others need a snapshot.

use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, prop_assert, prop_assert_eq, prop_oneof, proptest};
use signalbox_state::{CatchUp, Change, Digest, Frame, Journal, JournalBounds};
use signalbox_types::{BlockHash, EndpointKey, Origin, Version};

/// The weight of a change that was published alone.
const CHANGE_BYTES: usize = 256 + size_of::<Change>() + 48;
const KEPT: usize = 20;
const KEPT_AT_MOST: usize = 50;
const KEEP_MS: u64 = 1_000;
const BOUNDS: JournalBounds = JournalBounds {
    keep_bytes: KEPT * CHANGE_BYTES,
    keep_ms: KEEP_MS,
    max_bytes: KEPT_AT_MOST * CHANGE_BYTES,
};
/// How long a pin counts.
const PIN_MS: u64 = 30_000;

#[derive(Clone, Debug)]
enum Step {
    Push(usize),
    BeginEpoch(u64),
    Pin(u64),
    Unpin(u64),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1_usize..15).prop_map(Step::Push),
        1 => (1_u64..3).prop_map(Step::BeginEpoch),
        1 => (0_u64..3).prop_map(Step::Pin),
        1 => (0_u64..3).prop_map(Step::Unpin),
        1 => Just(Step::BeginEpoch(0)),
        2 => prop_oneof![1_u64..600, Just(KEEP_MS), Just(PIN_MS)].prop_map(Step::Wait),
    ]
}

/// A journal, and everything that it ever contained.
struct JournalModel {
    journal: Journal,
    now_ms: u64,
    changes: Vec<Change>,
    /// When each change was made, in milliseconds.
    times_ms: Vec<u64>,
    versions: Vec<Version>,
    /// The pinned versions, and when they were pinned.
    pins: [Option<(u64, u64)>; 3],
}

/// Returns the checksums of the state at `seq` in these tests.
fn digest(seq: u64) -> Digest {
    Digest { loads: seq, ..Digest::default() }
}

impl JournalModel {
    fn new() -> Self {
        let first = Version { epoch: 1, seq: 0 };
        let journal = Journal::new(first, digest(0), BOUNDS);
        let (changes, times_ms, versions) = (Vec::new(), Vec::new(), vec![first]);
        Self { journal, now_ms: KEEP_MS, changes, times_ms, versions, pins: [None; 3] }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Push(count) => (0..*count).for_each(|_| self.push()),
            Step::BeginEpoch(later) => self.journal.begin_epoch(self.journal.head().epoch + later),
            Step::Pin(holder) => {
                let seq = self.journal.head().seq;
                self.journal.pin(self.now_ms, *holder, seq);
                self.pins[*holder as usize] = Some((seq, self.now_ms));
            }
            Step::Unpin(holder) => {
                self.journal.unpin(self.now_ms, *holder);
                self.pins[*holder as usize] = None;
            }
            Step::Wait(ms) => {
                self.now_ms += ms;
                self.journal.expire_pins(self.now_ms);
                let now_ms = self.now_ms;
                self.pins = self.pins.map(|pin| pin.filter(|(_, since_ms)| now_ms - since_ms < PIN_MS));
            }
        }
        if self.versions.last() != Some(&self.journal.head()) {
            self.versions.push(self.journal.head());
        }
    }

    fn push(&mut self) {
        let change = Change::Acknowledged { origin: Origin(1), number: self.changes.len() as u64 };
        self.changes.push(change.clone());
        self.times_ms.push(self.now_ms);
        self.journal.push(change);
        self.journal.publish(self.now_ms, digest(self.journal.head().seq));
        self.versions.push(self.journal.head());
    }

    /// Follows the journal from `cursor`. Returns `None` if that needs a snapshot.
    fn follow(&self, mut cursor: Version) -> Option<Version> {
        loop {
            match self.journal.since(cursor) {
                CatchUp::Current => return Some(cursor),
                CatchUp::Snapshot => return None,
                CatchUp::Deposed(epoch) => panic!("{cursor} is not above {epoch}"),
                CatchUp::Frame(Frame::EpochChange { from, epoch }) => {
                    assert_eq!(cursor, from);
                    cursor.epoch = epoch;
                }
                CatchUp::Frame(Frame::Delta { epoch, from, to, changes }) => {
                    assert_eq!((cursor, to - from), (Version { epoch, seq: from }, changes.len() as u64));
                    assert!(self.changes[from as usize..to as usize].iter().eq(changes.iter()));
                    assert!(from < to);
                    cursor.seq = to;
                }
                CatchUp::Frame(frame) => panic!("{frame:?} is not part of the history"),
            }
            assert!(self.versions.contains(&cursor), "{cursor} is not in the history");
        }
    }
}

proptest! {
    #[test]
    fn every_version_catches_up_unless_its_history_is_gone(steps in vec(step(), 1..30)) {
        let mut model = JournalModel::new();
        for step in &steps {
            model.step(step);
            let head = model.journal.head();
            let reached = |version: &&Version| model.follow(**version).is_some();
            let first = model.versions.iter().find(reached).copied().unwrap();
            for version in &model.versions {
                let expected = (version.seq >= first.seq).then_some(head);
                prop_assert_eq!(expected, model.follow(*version));
                prop_assert_eq!(expected.is_some(), model.journal.covers(*version));
            }
            let kept = (head.seq - first.seq) as usize;
            prop_assert!(kept >= KEPT.min(model.changes.len()) && kept <= KEPT_AT_MOST);
            for (pinned, _) in model.pins.iter().flatten() {
                let reaches_back = first.seq <= *pinned || kept == KEPT_AT_MOST;
                prop_assert!(reaches_back, "{} is pinned and {} the first kept", pinned, first);
            }
            for (seq, at_ms) in (1..).zip(&model.times_ms) {
                let is_young = model.now_ms - at_ms < KEEP_MS;
                prop_assert!(!is_young || first.seq < seq || kept == KEPT_AT_MOST, "{} is young", seq);
            }
        }
        model.now_ms += KEEP_MS;
        model.step(&Step::Wait(PIN_MS));
        model.step(&Step::Push(1));
        let first = model.versions.iter().find(|version| model.follow(**version).is_some()).unwrap();
        let kept = model.journal.head().seq - first.seq;
        prop_assert!(kept <= KEPT as u64, "{} changes are kept for nobody", kept);
    }

    #[test]
    fn unknown_version_needs_a_snapshot(steps in vec(step(), 1..20), epoch in 0_u64..40, seq in 0_u64..200) {
        let mut model = JournalModel::new();
        steps.iter().for_each(|step| model.step(step));
        let cursor = Version { epoch, seq };
        if epoch > model.journal.head().epoch {
            prop_assert_eq!(CatchUp::Deposed(epoch), model.journal.since(cursor));
        } else if !model.versions.contains(&cursor) {
            prop_assert_eq!(CatchUp::Snapshot, model.journal.since(cursor));
        }
    }

    /// Changes that were published together may be received apart: a follower can be anywhere in a chunk.
    #[test]
    fn version_within_a_chunk_catches_up(sizes in vec(1_usize..700, 1..6), from in 0_usize..2_000) {
        let bounds = JournalBounds::default();
        let mut journal = Journal::new(Version { epoch: 1, seq: 0 }, digest(0), bounds);
        for size in &sizes {
            (0..*size as u64).for_each(|number| journal.push(Change::Acknowledged { origin: Origin(1), number }));
            journal.publish(0, digest(journal.head().seq));
        }
        let head = journal.head();
        let mut cursor = Version { epoch: 1, seq: from as u64 % (head.seq + 1) };
        while let CatchUp::Frame(Frame::Delta { from, to, changes, .. }) = journal.since(cursor) {
            prop_assert_eq!((cursor.seq, to - from), (from, changes.len() as u64));
            prop_assert!(changes.len() <= 512);
            cursor.seq = to;
        }
        prop_assert_eq!(head, cursor);
    }
}

#[test]
fn heartbeat_has_the_checksums_of_its_version_wherever_they_are_known() {
    let mut model = JournalModel::new();
    model.step(&Step::Push(60));
    model.step(&Step::BeginEpoch(1));
    let history = model.journal.history();
    let expected = |seq| Frame::Heartbeat { epoch: 2, seq, now_ms: 7, digest: digest(seq) };
    for seq in 60 - KEPT_AT_MOST as u64..=60 {
        assert_eq!(Some(expected(seq)), history.heartbeat(Version { epoch: 2, seq }, 7));
    }
    assert_eq!(Some(expected(60)), history.heartbeat_at_head(7));
    for version in
        [Version { epoch: 1, seq: 60 }, Version { epoch: 2, seq: 9 }, Version { epoch: 2, seq: 61 }]
    {
        assert_eq!(None, history.heartbeat(version, 7), "{version}");
    }
}

#[test]
fn epoch_changes_are_bounded() {
    let mut model = JournalModel::new();
    (0..100).for_each(|_| model.step(&Step::BeginEpoch(1)));
    assert_eq!(None, model.follow(Version { epoch: 1, seq: 0 }));
    assert!(model.follow(Version { epoch: 90, seq: 0 }).is_some());
}

#[test]
fn delta_is_bounded_in_weight_and_count() {
    let mut journal = Journal::new(Version { epoch: 1, seq: 0 }, digest(0), JournalBounds::default());
    let suffix: Arc<[BlockHash]> = (1..=20_000).map(BlockHash).collect();
    for _ in 0..20 {
        let (endpoint, anchor) = (EndpointKey(1), BlockHash::ROOT);
        journal.push(Change::Placed { endpoint, anchor, suffix: Arc::clone(&suffix) });
    }
    for number in 0..2_000 {
        journal.push(Change::Acknowledged { origin: Origin(1), number });
    }
    journal.publish(0, digest(2_020));
    let (mut cursor, mut sizes) = (Version { epoch: 1, seq: 0 }, Vec::new());
    while let CatchUp::Frame(Frame::Delta { to, changes, .. }) = journal.since(cursor) {
        sizes.push(changes.len());
        cursor.seq = to;
    }
    assert_eq!((2_020, vec![3, 3, 3, 3, 3]), (cursor.seq, sizes[..5].to_vec()));
    assert!(sizes.iter().all(|size| *size <= 512));
}

#[test]
fn change_heavier_than_the_bound_is_sent_alone() {
    let bounds = JournalBounds { keep_bytes: 64 << 20, keep_ms: 0, max_bytes: 64 << 20 };
    let mut journal = Journal::new(Version { epoch: 1, seq: 0 }, digest(0), bounds);
    let suffix: Arc<[BlockHash]> = (1..=1_000_000).map(BlockHash).collect();
    let (endpoint, anchor) = (EndpointKey(1), BlockHash::ROOT);
    journal.push(Change::Placed { endpoint, anchor, suffix });
    journal.push(Change::Acknowledged { origin: Origin(1), number: 1 });
    journal.publish(0, digest(2));
    let CatchUp::Frame(Frame::Delta { to, .. }) = journal.since(Version { epoch: 1, seq: 0 }) else {
        panic!("a delta")
    };
    assert_eq!(1, to);
}
