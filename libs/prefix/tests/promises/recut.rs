//! The same contents in other runs.

use signalbox_prefix::{ConfirmedRun, PlacedRun, Run};
use signalbox_types::BlockHash;

/// Cuts every run in two, somewhere.
pub(crate) fn recut(runs: Vec<Run>, seed: usize) -> Vec<Run> {
    let cut_of = |run: &Run| 1 + seed % (run.blocks.len().max(2) - 1);
    let old = runs.clone();
    let lead = |parent: BlockHash, start: u32| {
        let Some(of) = old.iter().find(|run| run.blocks[0] == parent) else { return parent };
        let cut = cut_of(of);
        if (start - 1 - of.start) as usize >= cut { of.blocks[cut] } else { parent }
    };
    runs.into_iter()
        .flat_map(|run| {
            let (cut, parent) = (cut_of(&run), lead(run.parent, run.start));
            let run = Run { parent, ..run };
            if cut < run.blocks.len() {
                vec![head(&run, cut as u32), tail(&run, cut as u32)]
            } else {
                vec![run]
            }
        })
        .collect()
}

fn head(run: &Run, cut: u32) -> Run {
    let mut placed: Vec<PlacedRun> = Vec::new();
    for each in &run.placed {
        if placed.last().is_none_or(|last| last.endpoint != each.endpoint || last.end < cut) {
            placed.push(PlacedRun { end: each.end.min(cut), ..*each });
        }
    }
    let confirmed = run.confirmed.iter().filter(|each| each.from < cut);
    let confirmed = confirmed.map(|each| ConfirmedRun { to: each.to.min(cut), ..*each }).collect();
    Run { blocks: run.blocks[..cut as usize].into(), placed, confirmed, ..run.clone() }
}

fn tail(run: &Run, cut: u32) -> Run {
    let placed = run.placed.iter().filter(|each| each.end > cut);
    let confirmed = run.confirmed.iter().filter(|each| each.to > cut);
    Run {
        parent: run.blocks[0],
        start: run.start + cut,
        blocks: run.blocks[cut as usize..].into(),
        placed: placed.map(|each| PlacedRun { end: each.end - cut, ..*each }).collect(),
        confirmed: confirmed
            .map(|each| ConfirmedRun { from: each.from.saturating_sub(cut), to: each.to - cut, ..*each })
            .collect(),
    }
}
