//! Snapshots and changes that no writer can have produced are rejected or harmless.

use proptest::prelude::*;
use signalbox_prefix::{ChainRange, ConfirmedRun, IndexWriter, PlacedRun, Residency, Run};
use signalbox_types::{BlockHash, EndpointKey};

fn block() -> impl Strategy<Value = BlockHash> {
    (0_u64..12).prop_map(BlockHash)
}

fn run() -> impl Strategy<Value = Run> {
    let placed = (0_u64..3, 0_u32..5, 0_u64..6).prop_map(|(endpoint, end, used)| PlacedRun {
        endpoint: EndpointKey(endpoint),
        end,
        used,
    });
    let confirmed = (0_u64..3, proptest::sample::select(&Residency::ALL[..]), 0_u32..4, 0_u32..5).prop_map(
        |(endpoint, residency, from, to)| ConfirmedRun {
            endpoint: EndpointKey(endpoint),
            residency,
            from,
            to,
        },
    );
    let blocks = proptest::collection::vec(1_u64..40, 0..4);
    let placed = proptest::collection::vec(placed, 0..3);
    let start = prop_oneof![4 => 0_u32..4, 1 => any::<u32>()];
    let parent = prop_oneof![2 => Just(BlockHash::ROOT), 1 => block()];
    (parent, start, blocks, placed, proptest::collection::vec(confirmed, 0..2)).prop_map(
        |(parent, start, blocks, placed, confirmed)| {
            let blocks = blocks.into_iter().map(BlockHash).collect();
            Run { parent, start, blocks, placed, confirmed }
        },
    )
}

#[derive(Clone, Debug)]
enum Step {
    Place(u64, BlockHash, Vec<BlockHash>, u64),
    Evict(u64, u64, u32),
    Confirm(u64, BlockHash, Vec<BlockHash>, usize),
    Unconfirm(u64, BlockHash, Vec<BlockHash>, usize),
    RemoveEndpoint(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let chain = || proptest::collection::vec(block(), 0..20);
    prop_oneof![
        (0_u64..3, block(), chain(), 0_u64..20)
            .prop_map(|(of, anchor, chain, used)| Step::Place(of, anchor, chain, used)),
        (0_u64..3, 0_u64..20, 0_u32..9).prop_map(|(of, used, blocks)| Step::Evict(of, used, blocks)),
        (0_u64..3, block(), chain(), 0_usize..9)
            .prop_map(|(of, anchor, chain, from)| Step::Confirm(of, anchor, chain, from)),
        (0_u64..3, block(), chain(), 0_usize..9)
            .prop_map(|(of, anchor, chain, from)| Step::Unconfirm(of, anchor, chain, from)),
        (0_u64..3).prop_map(Step::RemoveEndpoint),
    ]
}

/// Applies a step. Both outcomes are valid, as long as nothing panics.
fn apply(writer: &mut IndexWriter, step: Step) {
    match step {
        Step::Place(of, anchor, chain, used) => {
            let is_known = writer.known_blocks(anchor, &chain).is_ok();
            let before = writer.digest(EndpointKey(of));
            if writer.place(EndpointKey(of), anchor, &chain, used).is_err() {
                assert_eq!(before, writer.digest(EndpointKey(of)));
            } else {
                assert!(is_known);
            }
        }
        Step::Evict(of, used, blocks) => _ = writer.evict(EndpointKey(of), used, blocks),
        Step::Confirm(of, anchor, chain, from) => {
            let _ =
                writer.confirm(EndpointKey(of), Residency::Host, ChainRange { anchor, chain: &chain, from });
        }
        Step::Unconfirm(of, anchor, chain, from) => {
            let _ = writer.unconfirm(
                EndpointKey(of),
                Residency::Host,
                ChainRange { anchor, chain: &chain, from },
            );
        }
        Step::RemoveEndpoint(of) => writer.remove_endpoint(EndpointKey(of)),
    }
}

proptest! {
    #[test]
    fn invalid_steps_do_no_harm(steps in proptest::collection::vec(step(), 0..60), query in proptest::collection::vec(block(), 0..20)) {
        let mut writer = IndexWriter::default();
        for step in steps {
            apply(&mut writer, step);
            writer.index().lookup(&query);
        }
        (0..3).for_each(|endpoint| writer.remove_endpoint(EndpointKey(endpoint)));
        prop_assert!(writer.index().is_empty());
        prop_assert_eq!(0, writer.memory_bytes());
    }

    #[test]
    fn invalid_snapshot_does_no_harm(runs in proptest::collection::vec(run(), 0..4), steps in proptest::collection::vec(step(), 0..20)) {
        if let Ok(mut writer) = IndexWriter::from_runs(runs) {
            let runs: Vec<Run> = writer.runs().collect();
            runs.iter().for_each(|run| drop(writer.index().lookup(&run.blocks)));
            steps.into_iter().for_each(|step| apply(&mut writer, step));
            (0..3).for_each(|endpoint| writer.remove_endpoint(EndpointKey(endpoint)));
        }
    }
}
