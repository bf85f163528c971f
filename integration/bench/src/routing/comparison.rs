//! Compares the contenders of each cell of the matrix.

use super::report::{ContenderResult, Report, SceneSummary};
use super::run_metrics::RunMetrics;
use crate::policies::SIGNALBOX;
use signalbox_bench_report::Mean;

/// A compared time of a run.
#[derive(Clone, Copy)]
pub(super) struct Measure {
    pub(super) name: &'static str,
    pub(super) of: fn(&RunMetrics) -> f64,
}

/// The times that goals are about.
pub(super) const GOAL_MEASURES: [Measure; 2] = [
    Measure { name: "TTFT mean", of: |metrics| metrics.ttft_mean_ms },
    Measure { name: "TTFT p90", of: |metrics| metrics.ttft_p90_ms },
];

/// The times that are compared without a goal.
pub(super) const FURTHER_MEASURES: [Measure; 2] = [
    Measure { name: "TTFT p99", of: |metrics| metrics.ttft_p99_ms },
    Measure { name: "mean time to the last token", of: |metrics| metrics.e2e_mean_ms },
];

/// One scene, load and number of replicas, with the results to compare.
pub(super) struct Cell<'a> {
    pub(super) scene: &'a SceneSummary,
    pub(super) load_percent: u32,
    pub(super) replicas: usize,
    /// The results in the order in which they ran, without static splits.
    pub(super) results: Vec<&'a ContenderResult>,
    /// The results of static splits of this load.
    pub(super) splits: Vec<&'a ContenderResult>,
}

/// A result that Signalbox's is compared with.
#[derive(Clone, Copy)]
pub(super) struct Compared<'a> {
    pub(super) other: &'a ContenderResult,
    /// Signalbox's value ÷ the other's: mean over the seeds.
    pub(super) ratio: Mean,
}

impl Report {
    /// Groups the results by scene, load and number of replicas, in the order in which they ran.
    pub(super) fn cells(&self) -> Vec<Cell<'_>> {
        let mut cells: Vec<Cell<'_>> = Vec::new();
        for result in self.results.iter().filter(|result| !result.is_split()) {
            let (name, load_percent, replicas, _) = result.key();
            let Some(scene) = self.scenes.iter().find(|scene| scene.name == name) else { continue };
            let key = (&scene.name, load_percent, replicas);
            match cells.iter_mut().find(|cell| (&cell.scene.name, cell.load_percent, cell.replicas) == key) {
                Some(cell) => cell.results.push(result),
                None => {
                    let is_same = |split: &&ContenderResult| {
                        split.is_split() && split.scene == name && split.load_percent == load_percent
                    };
                    let splits = self.results.iter().filter(is_same).collect();
                    cells.push(Cell { scene, load_percent, replicas, results: vec![result], splits });
                }
            }
        }
        cells
    }
}

impl<'a> Cell<'a> {
    pub(super) fn name(&self) -> String {
        format!("{} {} % ×{}", self.scene.name, self.load_percent, self.replicas)
    }

    pub(super) fn find(&self, contender: &str) -> Option<&'a ContenderResult> {
        self.results.iter().find(|result| result.contender == contender).copied()
    }

    pub(super) fn signalbox(&self) -> Option<&'a ContenderResult> {
        self.find(SIGNALBOX)
    }

    /// Compares Signalbox with the contender of this name.
    pub(super) fn compared_with(&self, contender: &str, measure: Measure) -> Option<Compared<'a>> {
        self.compared(self.find(contender)?, measure)
    }

    /// Compares Signalbox with the best other contender.
    pub(super) fn compared_with_best(&self, measure: Measure) -> Option<Compared<'a>> {
        let others = self.results.iter().filter(|result| result.is_other());
        self.compared(best(others.copied(), measure)?, measure)
    }

    /// Compares Signalbox with the best static split.
    pub(super) fn compared_with_split(&self, measure: Measure) -> Option<Compared<'a>> {
        self.compared(best(self.splits.iter().copied(), measure)?, measure)
    }

    /// Returns Signalbox's value ÷ the lower bound.
    pub(super) fn ratio_to_bound(&self, measure: Measure) -> Option<Mean> {
        let signalbox = self.signalbox()?;
        Some(ratio(&signalbox.runs, &self.scene.lower_bounds, measure))
    }

    /// Returns a contender's value ÷ the lower bound.
    pub(super) fn share_of_bound(&self, result: &ContenderResult, measure: Measure) -> f64 {
        ratio(&result.runs, &self.scene.lower_bounds, measure).mean
    }

    /// Compares Signalbox with a result of the same scene and load.
    pub(super) fn compared(&self, other: &'a ContenderResult, measure: Measure) -> Option<Compared<'a>> {
        let signalbox = self.signalbox()?;
        Some(Compared { other, ratio: ratio(&signalbox.runs, &other.runs, measure) })
    }
}

/// Returns the result with the least mean.
fn best<'a>(
    results: impl Iterator<Item = &'a ContenderResult>,
    measure: Measure,
) -> Option<&'a ContenderResult> {
    let mean = |result: &ContenderResult| (measure.of)(&result.mean());
    results.min_by(|one, other| mean(one).total_cmp(&mean(other)))
}

/// Returns the mean over the seeds of the ratios within a seed.
fn ratio(ones: &[RunMetrics], others: &[RunMetrics], measure: Measure) -> Mean {
    let values = |runs: &[RunMetrics]| runs.iter().map(measure.of).collect::<Vec<_>>();
    Mean::of_ratios(&values(ones), &values(others))
}

/// Returns, for a contender, Signalbox's mean time to first token ÷ its: the geometric mean over all cells with
/// `replicas` replicas, which treats both alike, as a mean over the seeds.
pub(super) fn ratio_over_cells(report: &Report, replicas: usize, contender: &str) -> Option<Mean> {
    let [measure, _] = GOAL_MEASURES;
    let cells = report.cells();
    let pairs: Vec<_> = cells
        .iter()
        .filter(|cell| cell.replicas == replicas)
        .filter_map(|cell| Some((cell.signalbox()?, cell.find(contender)?)))
        .collect();
    if pairs.is_empty() {
        return None;
    }
    let of_seed = |seed: usize| {
        let ratio = |(signalbox, other): &(&ContenderResult, &ContenderResult)| {
            (measure.of)(&signalbox.runs[seed]) / (measure.of)(&other.runs[seed])
        };
        (pairs.iter().map(|pair| ratio(pair).ln()).sum::<f64>() / pairs.len() as f64).exp()
    };
    Some(Mean::of((0..report.seeds.len()).map(of_seed)))
}
