//! The results.

use serde::{Deserialize, Serialize};
use signalbox_bench_report::{Provenance, mean};

use super::caps::Capped;
use super::metrics::Metrics;
use super::owner_kill::Killed;

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
    pub(super) caps: Vec<Capped>,
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
        mean(self.runs.iter().filter_map(of))
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
        mean(cell.runs.iter().zip(&other.runs).map(|(one, other)| of(one) / of(other)))
    }
}
