//! Splits runs, to test that the division into runs does not matter.

use signalbox_prefix::{ConfirmedRun, PlacedRun, Run};
use signalbox_types::BlockHash;

/// Splits every run in two at a position that depends on `seed`.
pub(crate) fn split_runs(runs: Vec<Run>, seed: usize) -> Vec<Run> {
    let split_of = |run: &Run| 1 + seed % (run.blocks.len().max(2) - 1);
    let original = runs.clone();
    let new_parent = |parent: BlockHash, start: u32| {
        let Some(of) = original.iter().find(|run| run.blocks[0] == parent) else { return parent };
        let split = split_of(of);
        if (start - 1 - of.start) as usize >= split { of.blocks[split] } else { parent }
    };
    runs.into_iter()
        .flat_map(|run| {
            let (split, parent) = (split_of(&run), new_parent(run.parent, run.start));
            let run = Run { parent, ..run };
            if split < run.blocks.len() {
                vec![head(&run, split as u32), tail(&run, split as u32)]
            } else {
                vec![run]
            }
        })
        .collect()
}

fn head(run: &Run, split: u32) -> Run {
    let mut placed: Vec<PlacedRun> = Vec::new();
    for each in &run.placed {
        if placed.last().is_none_or(|last| last.endpoint != each.endpoint || last.end < split) {
            placed.push(PlacedRun { end: each.end.min(split), ..*each });
        }
    }
    let confirmed = run.confirmed.iter().filter(|each| each.from < split);
    let confirmed = confirmed.map(|each| ConfirmedRun { to: each.to.min(split), ..*each }).collect();
    Run { blocks: run.blocks[..split as usize].into(), placed, confirmed, ..run.clone() }
}

fn tail(run: &Run, split: u32) -> Run {
    let placed = run.placed.iter().filter(|each| each.end > split);
    let confirmed = run.confirmed.iter().filter(|each| each.to > split);
    Run {
        parent: run.blocks[0],
        start: run.start + split,
        blocks: run.blocks[split as usize..].into(),
        placed: placed.map(|each| PlacedRun { end: each.end - split, ..*each }).collect(),
        confirmed: confirmed
            .map(|each| ConfirmedRun { from: each.from.saturating_sub(split), to: each.to - split, ..*each })
            .collect(),
    }
}
