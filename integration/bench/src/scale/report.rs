//! The results and their tables.

use serde::{Deserialize, Serialize};
use signalbox_bench_report::{Provenance, Table, mean};

use super::measures::Measures;
use super::profiles::PROFILES;
use super::recipes::Recipe;

/// What decides about replicas in a cell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Contender {
    /// Signalbox's signal, with so many EPP replicas.
    Signal { replicas: usize },
    /// A recipe whose thresholds are divided by `percent` of 1.
    Recipe { name: String, percent: u32 },
    /// The plan that knows all requests in advance.
    Clairvoyant,
}

/// All results.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Report {
    pub(super) provenance: Provenance,
    pub(super) seeds: Vec<u64>,
    /// The requests that a pod serves per second when it is full.
    pub(super) pod_per_second: f64,
    pub(super) cells: Vec<Cell>,
}

/// The runs of one contender with one profile and one start-up of pods; one for each seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Cell {
    pub(super) profile: String,
    pub(super) startup_s: u32,
    pub(super) contender: Contender,
    pub(super) runs: Vec<Measures>,
}

/// What a contender attains over all profiles.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Total {
    /// The mean of the profiles, in percent.
    pub(super) attained: f64,
    /// The sum.
    pub(super) hours: f64,
}

impl Cell {
    /// Returns the mean of a measure over the runs.
    pub(super) fn mean(&self, of: impl Fn(&Measures) -> f64) -> f64 {
        mean(self.runs.iter().map(of)).unwrap_or(0.0)
    }

    pub(super) fn attained(&self) -> f64 {
        self.mean(|of| of.attained_percent)
    }

    pub(super) fn hours(&self) -> f64 {
        self.mean(|of| of.replica_hours)
    }

    /// Returns the mean overshoot in percent, if the profile has a plateau.
    pub(super) fn overshoot(&self) -> Option<f64> {
        mean(self.runs.iter().map(|of| of.overshoot_percent).collect::<Option<Vec<_>>>()?)
    }
}

impl Report {
    /// Returns the profiles and start-ups that were run, in order.
    pub(super) fn scenes(&self) -> Vec<(&str, u32)> {
        let mut scenes: Vec<(&str, u32)> = Vec::new();
        for cell in &self.cells {
            let scene = (&*cell.profile, cell.startup_s);
            if !scenes.contains(&scene) {
                scenes.push(scene);
            }
        }
        scenes
    }

    /// Returns the start-ups that were run, in order.
    pub(super) fn startups_s(&self) -> Vec<u32> {
        let mut startups_s: Vec<u32> = self.cells.iter().map(|cell| cell.startup_s).collect();
        startups_s.sort_unstable();
        startups_s.dedup();
        startups_s
    }

    /// Returns what a contender attains over all profiles with one start-up.
    pub(super) fn total(&self, startup_s: u32, contender: &Contender) -> Option<Total> {
        let is_it = |cell: &&Cell| (cell.startup_s, &cell.contender) == (startup_s, contender);
        let cells: Vec<&Cell> = self.cells.iter().filter(is_it).collect();
        let attained = mean(cells.iter().map(|cell| cell.attained()))?;
        Some(Total { attained, hours: cells.iter().map(|cell| cell.hours()).sum() })
    }

    /// Returns the cell of a contender.
    pub(super) fn cell(&self, (profile, startup_s): (&str, u32), contender: &Contender) -> Option<&Cell> {
        let is_it = |cell: &&Cell| {
            (&*cell.profile, cell.startup_s, &cell.contender) == (profile, startup_s, contender)
        };
        self.cells.iter().find(is_it)
    }

    /// Returns the tables in Markdown: the profiles, and the cells.
    pub(super) fn tables(&self) -> String {
        let mut profiles = Table::new(&["profile", "pods that the requests keep busy"]);
        for profile in &PROFILES {
            profiles.row(&[profile.name, profile.about]);
        }
        let names = Recipe::ALL.iter().map(|recipe| recipe.name().to_owned());
        let columns: Vec<String> = ["profile", "start-up", "signalbox", "with 8 EPP replicas"]
            .map(str::to_owned)
            .into_iter()
            .chain(names)
            .chain(["clairvoyant".to_owned()])
            .collect();
        let mut table = Table::new(&columns);
        let figure = |total: Option<Total>| {
            total.map_or_else(|| "–".to_owned(), |of| format!("{:.2} %, {:.1} h", of.attained, of.hours))
        };
        let mut row = |name: &str, startup_s: u32, total: &dyn Fn(&Contender) -> Option<Total>| {
            let recipes =
                Recipe::ALL.map(|recipe| Contender::Recipe { name: recipe.name().to_owned(), percent: 100 });
            let others = [Contender::Signal { replicas: 8 }].into_iter().chain(recipes);
            let mut row = vec![name.to_owned(), format!("{startup_s} s")];
            row.push(format!("**{}**", figure(total(&Contender::Signal { replicas: 1 }))));
            row.extend(others.chain([Contender::Clairvoyant]).map(|contender| figure(total(&contender))));
            table.row(&row);
        };
        for (profile, startup_s) in self.scenes() {
            row(profile, startup_s, &|contender| {
                let cell = self.cell((profile, startup_s), contender)?;
                Some(Total { attained: cell.attained(), hours: cell.hours() })
            });
        }
        for startup_s in self.startups_s() {
            row("**all**", startup_s, &|contender| self.total(startup_s, contender));
        }
        format!("{}\n{}", profiles.into_text(), table.into_text())
    }
}
