//! A capture returns the runs as they were when it began, whatever changes meanwhile.

use crate::matches_reference::{Step, apply, apply_to_reference, sorted, step};
use crate::reference_model::{ReferenceModel, chain};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use signalbox_prefix::{IndexWriter, Run};
use signalbox_types::{BlockHash, EndpointKey};

/// More parts than any index of these tests has.
const MAX_PARTS: usize = 1_000;

/// What happens during a capture: a change, or the next part of so many steps.
fn event() -> impl Strategy<Value = (Step, Option<usize>)> {
    // An index that is built from the runs of another one has no capture.
    let changes = step().prop_filter("keeps the index", |step| !matches!(step, Step::SplitRuns { .. }));
    (changes, option::of(0_usize..12))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn capture_is_the_index_at_its_beginning(before in vec(event(), 0..60), during in vec(event(), 0..60)) {
        let (mut writer, mut reference) = (IndexWriter::default(), ReferenceModel::default());
        let mut change = |writer: &mut IndexWriter, step: &Step, used: usize| {
            apply(writer, &reference, step, used as u64);
            apply_to_reference(&mut reference, step, used as u64);
        };
        for (used, (step, _)) in before.iter().enumerate() {
            change(&mut writer, step, used);
        }
        let expected = sorted(writer.runs());
        writer.begin_capture();
        let mut captured = Vec::new();
        for (used, (step, part)) in (before.len()..).zip(&during) {
            captured.extend(part.map(|max_steps| writer.capture_next(max_steps)).into_iter().flatten());
            change(&mut writer, step, used);
        }
        for _ in 0..MAX_PARTS {
            captured.extend(writer.capture_next(7));
        }
        prop_assert!(!writer.is_capturing(), "not complete after {} parts", MAX_PARTS);
        prop_assert_eq!(expected, sorted(captured.into_iter()));
    }
}

#[test]
fn part_is_limited_and_another_capture_begins_anew() {
    let mut writer = IndexWriter::default();
    for prompt in 0..100_u8 {
        let blocks = chain(&[prompt; 3]);
        writer.place(EndpointKey(1), BlockHash::ROOT, &blocks, u64::from(prompt) + 1).unwrap();
    }
    let runs = |writer: &mut IndexWriter| -> Vec<Run> { writer.capture_next(20) };
    writer.begin_capture();
    assert_eq!(10, runs(&mut writer).len(), "two steps for a run with one holder");
    assert_eq!(10, runs(&mut writer).len());
    writer.begin_capture();
    let parts: Vec<_> = (0..10).map(|_| runs(&mut writer).len()).collect();
    assert_eq!((vec![10; 10], false), (parts, writer.is_capturing()));
    writer.begin_capture();
    writer.end_capture();
    assert!(!writer.is_capturing() && runs(&mut writer).is_empty());
}
