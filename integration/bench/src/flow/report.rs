//! The results and their tables.

use std::fmt::Write;

use serde::{Deserialize, Serialize};
use signalbox_bench_report::Provenance;
use signalbox_bench_report::Table;

use super::metrics::Metrics;
use super::owner_kill::Killed;
use super::scenes::SCENES;

/// The contenders: Signalbox's flow control, none, the Go EPP's, and none with critical requests alone.
pub(super) const SIGNALBOX: &str = "signalbox";
pub(super) const NONE: &str = "none";
pub(super) const GO: &str = "go";
pub(super) const ALONE: &str = "critical-alone";

/// All results.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Report {
    pub(super) provenance: Provenance,
    pub(super) seeds: Vec<u64>,
    /// The requests per second that the pods serve, for each scene and seed.
    pub(super) capacity_per_second: Vec<(String, f64)>,
    pub(super) cells: Vec<Cell>,
    pub(super) kills: Vec<Killed>,
}

/// The runs of one contender in one scene at one load, with one number of replicas; one for each seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Cell {
    pub(super) scene: String,
    pub(super) load_percent: u32,
    pub(super) replicas: usize,
    pub(super) contender: String,
    pub(super) runs: Vec<Metrics>,
}

impl Cell {
    pub(super) fn key(&self) -> (&str, u32, usize, &str) {
        (&self.scene, self.load_percent, self.replicas, &self.contender)
    }

    /// Returns the mean of a measure over the runs that have it.
    pub(super) fn mean(&self, of: impl Fn(&Metrics) -> Option<f64>) -> Option<f64> {
        let values: Vec<f64> = self.runs.iter().filter_map(of).collect();
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    }

    /// Returns the greatest value of a measure.
    pub(super) fn most(&self, of: impl Fn(&Metrics) -> Option<f64>) -> Option<f64> {
        self.runs.iter().filter_map(of).reduce(f64::max)
    }
}

impl Report {
    /// Returns the runs of another contender in the same cell.
    pub(super) fn other(&self, cell: &Cell, contender: &str) -> Option<&Cell> {
        let key = (&*cell.scene, cell.load_percent, cell.replicas, contender);
        self.cells.iter().find(|other| other.key() == key)
    }

    /// Returns the mean, over seeds, of a measure in relation to that of another contender in the same run.
    pub(super) fn ratio(&self, cell: &Cell, to: &str, of: impl Fn(&Metrics) -> f64) -> Option<f64> {
        let other = self.other(cell, to)?;
        let ratios = cell.runs.iter().zip(&other.runs).map(|(one, other)| of(one) / of(other));
        Some(ratios.sum::<f64>() / cell.runs.len().max(1) as f64)
    }

    /// Returns the tables in Markdown: the scenes, the cells, and the kills of an owner.
    pub(super) fn tables(&self) -> String {
        let mut scenes = Table::new(&["scene", "what is sent", "requests/s at 100 %"]);
        for scene in &SCENES {
            let of = self.capacity_per_second.iter().filter(|(name, _)| name == scene.name);
            let rates: Vec<f64> = of.map(|(_, rate)| *rate).collect();
            if !rates.is_empty() {
                let mean = rates.iter().sum::<f64>() / rates.len() as f64;
                scenes.row(&[scene.name.to_owned(), scene.about.to_owned(), format!("{mean:.1}")]);
            }
        }
        let mut table = Table::new(&[
            "scene",
            "load",
            "replicas",
            "critical TTFT p99 ÷ alone: ours, Go's, none",
            "tokens/s ÷ none: ours, Go's",
            "Jain: ours, Go's",
            "off the weights: ours, Go's",
            "longest idle: ours, Go's (ms)",
            "waited: ours, Go's",
            "mean TTFT ÷ none",
        ]);
        let figure = |value: Option<f64>, digits: usize| {
            value.map_or_else(|| "–".to_owned(), |value| format!("{value:.digits$}"))
        };
        for cell in self.cells.iter().filter(|cell| cell.contender == SIGNALBOX) {
            let (go, none) = (self.other(cell, GO), self.other(cell, NONE));
            let p99 = |of: Option<&Cell>| {
                figure(of.and_then(|of| self.ratio(of, ALONE, |of| of.critical_ttft_p99_ms)), 2)
            };
            let served = |of: Option<&Cell>| {
                figure(of.and_then(|of| self.ratio(of, NONE, |of| of.tokens_per_second)), 3)
            };
            let pair = |of: &dyn Fn(&Metrics) -> Option<f64>, digits| {
                format!(
                    "{}, {}",
                    figure(cell.mean(of), digits),
                    figure(go.and_then(|go| go.mean(of)), digits)
                )
            };
            table.row(&[
                cell.scene.clone(),
                format!("{} %", cell.load_percent),
                cell.replicas.to_string(),
                format!("**{}**, {}, {}", p99(Some(cell)), p99(go), p99(none)),
                format!("**{}**, {}", served(Some(cell)), served(go)),
                pair(&|of| of.jain, 3),
                format!("{} %", pair(&|of| of.off_percent, 1)),
                pair(&|of| Some(of.longest_idle_ms), 0),
                format!("{} %", pair(&|of| Some(of.waited * 100.0), 1)),
                figure(self.ratio(cell, NONE, |of| of.ttft_mean_ms), 3),
            ]);
        }
        let mut text = format!("{}\n{}", scenes.into_text(), table.into_text());
        if !self.kills.is_empty() {
            let mut table = Table::new(&[
                "requests",
                "most that waited",
                "lost",
                "sent twice",
                "off the fair share in the gap",
            ]);
            for Killed { requests, most_waiting, lost, doubled, off_percent } in &self.kills {
                table.row(&[
                    requests.to_string(),
                    most_waiting.to_string(),
                    lost.to_string(),
                    doubled.to_string(),
                    format!("{off_percent:.1} %"),
                ]);
            }
            let _ = write!(
                text,
                "\nThe owner is killed, and no other one takes over for 2.5 s; one row per seed:\n\n{}",
                table.into_text()
            );
        }
        text
    }
}
