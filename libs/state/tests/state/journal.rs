//! Followers within the kept history catch up from the journal; all others need a snapshot.

use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, prop_assert, prop_assert_eq, prop_oneof, proptest};
use signalbox_state::{CatchUp, Change, Frame, Journal, JournalBounds};
use signalbox_types::{BlockHash, EndpointKey, Origin, Version};

/// The weight of one change in these tests.
const CHANGE_BYTES: usize = 128;
const KEPT: usize = 20;
const KEPT_PINNED: usize = 50;
const BOUNDS: JournalBounds =
    JournalBounds { keep_bytes: KEPT * CHANGE_BYTES, keep_pinned_bytes: KEPT_PINNED * CHANGE_BYTES };

#[derive(Clone, Debug)]
enum Step {
    Push(usize),
    BeginEpoch(u64),
    Pin(u64),
    Unpin(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1_usize..15).prop_map(Step::Push),
        1 => (1_u64..3).prop_map(Step::BeginEpoch),
        1 => (0_u64..3).prop_map(Step::Pin),
        1 => (0_u64..3).prop_map(Step::Unpin),
        1 => Just(Step::BeginEpoch(0)),
    ]
}

/// A journal, and everything that it ever contained.
struct JournalModel {
    journal: Journal,
    changes: Vec<Arc<Change>>,
    versions: Vec<Version>,
    pins: [Option<u64>; 3],
}

impl JournalModel {
    fn new() -> Self {
        let first = Version { epoch: 1, seq: 0 };
        let journal = Journal::new(first, BOUNDS);
        Self { journal, changes: Vec::new(), versions: vec![first], pins: [None; 3] }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Push(count) => (0..*count).for_each(|_| self.push()),
            Step::BeginEpoch(later) => self.journal.begin_epoch(self.journal.head().epoch + later),
            Step::Pin(holder) => {
                let seq = self.journal.head().seq;
                self.journal.pin(*holder, seq);
                self.pins[*holder as usize] = Some(seq);
            }
            Step::Unpin(holder) => {
                self.journal.unpin(*holder);
                self.pins[*holder as usize] = None;
            }
        }
        if self.versions.last() != Some(&self.journal.head()) {
            self.versions.push(self.journal.head());
        }
    }

    fn push(&mut self) {
        let change = Arc::new(Change::Acknowledged { origin: Origin(1), number: self.changes.len() as u64 });
        self.changes.push(Arc::clone(&change));
        self.versions.push(self.journal.push(change));
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
                    assert_eq!(&self.changes[from as usize..to as usize], &changes[..]);
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
            prop_assert!(kept >= KEPT.min(model.changes.len()) && kept <= KEPT_PINNED);
            for pinned in model.pins.iter().flatten() {
                let reaches_back = first.seq <= *pinned || kept == KEPT_PINNED;
                prop_assert!(reaches_back, "{} is pinned and {} the first kept", pinned, first);
            }
            if model.pins == [None; 3] {
                prop_assert!(kept <= KEPT);
            }
        }
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
    let mut journal = Journal::new(Version { epoch: 1, seq: 0 }, JournalBounds::default());
    let suffix: Arc<[BlockHash]> = (1..=40_000).map(BlockHash).collect();
    for _ in 0..20 {
        let (endpoint, anchor) = (EndpointKey(1), BlockHash::ROOT);
        journal.push(Arc::new(Change::Placed { endpoint, anchor, suffix: Arc::clone(&suffix) }));
    }
    for number in 0..2_000 {
        journal.push(Arc::new(Change::Acknowledged { origin: Origin(1), number }));
    }
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
    let bounds = JournalBounds { keep_bytes: 64 << 20, keep_pinned_bytes: 64 << 20 };
    let mut journal = Journal::new(Version { epoch: 1, seq: 0 }, bounds);
    let suffix: Arc<[BlockHash]> = (1..=1_000_000).map(BlockHash).collect();
    let (endpoint, anchor) = (EndpointKey(1), BlockHash::ROOT);
    journal.push(Arc::new(Change::Placed { endpoint, anchor, suffix }));
    journal.push(Arc::new(Change::Acknowledged { origin: Origin(1), number: 1 }));
    let CatchUp::Frame(Frame::Delta { to, .. }) = journal.since(Version { epoch: 1, seq: 0 }) else {
        panic!("a delta")
    };
    assert_eq!(1, to);
}
