//! Snapshots and changes that no index ever said are refused, or do no harm.

use proptest::prelude::*;
use signalbox_prefix::{ConfirmedRun, PlacedRun, Residents, Run, Stretch, Tier};
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
    let confirmed = (0_u64..3, proptest::sample::select(&Tier::ALL[..]), 0_u32..4, 0_u32..5).prop_map(
        |(endpoint, tier, from, to)| ConfirmedRun { endpoint: EndpointKey(endpoint), tier, from, to },
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
    Forget(u64),
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
        (0_u64..3).prop_map(Step::Forget),
    ]
}

/// Outcomes do not matter here, as long as there is one.
fn take(residents: &mut Residents, step: Step) {
    match step {
        Step::Place(of, anchor, chain, used) => {
            let is_fit = residents.known(anchor, &chain).is_ok();
            let before = residents.digest(EndpointKey(of));
            if residents.place(EndpointKey(of), anchor, &chain, used).is_err() {
                assert_eq!(before, residents.digest(EndpointKey(of)));
            } else {
                assert!(is_fit);
            }
        }
        Step::Evict(of, used, blocks) => _ = residents.evict(EndpointKey(of), used, blocks),
        Step::Confirm(of, anchor, chain, from) => {
            let _ = residents.confirm(EndpointKey(of), Tier::Host, Stretch { anchor, chain: &chain, from });
        }
        Step::Unconfirm(of, anchor, chain, from) => {
            let _ = residents.unconfirm(EndpointKey(of), Tier::Host, Stretch { anchor, chain: &chain, from });
        }
        Step::Forget(of) => residents.forget(EndpointKey(of)),
    }
}

proptest! {
    #[test]
    fn steps_that_make_no_sense_do_no_harm(steps in proptest::collection::vec(step(), 0..60), asked in proptest::collection::vec(block(), 0..20)) {
        let mut residents = Residents::default();
        for step in steps {
            take(&mut residents, step);
            residents.index().lookup(&asked);
        }
        (0..3).for_each(|endpoint| residents.forget(EndpointKey(endpoint)));
        prop_assert!(residents.index().is_empty());
        prop_assert_eq!(0, residents.bytes());
    }

    #[test]
    fn a_snapshot_that_makes_no_sense_does_no_harm(runs in proptest::collection::vec(run(), 0..4), steps in proptest::collection::vec(step(), 0..20)) {
        if let Ok(mut residents) = Residents::from_runs(runs) {
            let whole: Vec<Run> = residents.runs().collect();
            whole.iter().for_each(|run| drop(residents.index().lookup(&run.blocks)));
            steps.into_iter().for_each(|step| take(&mut residents, step));
            (0..3).for_each(|endpoint| residents.forget(EndpointKey(endpoint)));
        }
    }
}
