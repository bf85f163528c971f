//! All figures, as they are written.

use serde::Serialize;

use super::figures::Figures;
use super::profile::Profile;

/// All figures of the bench.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) pods: usize,
    pub(crate) seeds: u64,
    pub(crate) stages: Vec<Stage>,
    pub(crate) cells: Vec<Cell>,
}

/// A profile; lists have one entry for each seed.
#[derive(Debug, Serialize)]
pub(crate) struct Stage {
    pub(crate) profile: Profile,
    pub(crate) source: String,
    pub(crate) requests: Vec<usize>,
    pub(crate) saturates_per_second: Vec<f64>,
    /// What no policy can do better.
    pub(crate) bounds: Vec<Figures>,
    /// What the pods' memory allows at best.
    pub(crate) one_cache: Vec<Figures>,
}

/// One policy under one load.
#[derive(Debug, Serialize)]
pub(crate) struct Cell {
    pub(crate) profile: Profile,
    pub(crate) load_percent: u32,
    pub(crate) replicas: usize,
    pub(crate) policy: String,
    /// One for each seed.
    pub(crate) runs: Vec<Figures>,
}

impl Cell {
    pub(super) fn key(&self) -> (Profile, u32, usize, &str) {
        (self.profile, self.load_percent, self.replicas, &self.policy)
    }

    pub(super) fn mean(&self) -> Figures {
        Figures::mean(&self.runs)
    }

    pub(super) fn is_split(&self) -> bool {
        self.policy.starts_with("split ")
    }
}

/// What is compared with each other: the policies under one load with so many replicas.
pub(super) struct Group<'a> {
    pub(super) profile: Profile,
    pub(super) load_percent: u32,
    pub(super) replicas: usize,
    pub(super) cells: Vec<&'a Cell>,
    pub(super) bound: Figures,
    pub(super) one_cache: Figures,
}

impl Report {
    /// The policies side by side, in the order in which they ran. Static splits are no policies.
    pub(super) fn groups(&self) -> Vec<Group<'_>> {
        let mut groups: Vec<Group<'_>> = Vec::new();
        for cell in self.cells.iter().filter(|cell| !cell.is_split()) {
            let (profile, load_percent, replicas, _) = cell.key();
            let is_its = |group: &Group<'_>| {
                (group.profile, group.load_percent, group.replicas) == (profile, load_percent, replicas)
            };
            match groups.iter_mut().find(|group| is_its(group)) {
                Some(group) => group.cells.push(cell),
                None => {
                    let stage = self.stages.iter().find(|stage| stage.profile == profile);
                    let mean = |of: fn(&Stage) -> &Vec<Figures>| {
                        stage.map_or_else(Figures::default, |stage| Figures::mean(of(stage)))
                    };
                    let (bound, one_cache) = (mean(|stage| &stage.bounds), mean(|stage| &stage.one_cache));
                    groups.push(Group {
                        profile,
                        load_percent,
                        replicas,
                        cells: vec![cell],
                        bound,
                        one_cache,
                    });
                }
            }
        }
        groups
    }

    /// The static splits under one load of heterogeneous pods.
    pub(super) fn splits(&self, load_percent: u32) -> impl Iterator<Item = &Cell> {
        self.cells.iter().filter(move |cell| cell.is_split() && cell.load_percent == load_percent)
    }
}

impl Group<'_> {
    pub(super) fn of(&self, policy: &str) -> Option<Figures> {
        self.cells.iter().find(|cell| cell.policy == policy).map(|cell| cell.mean())
    }
}
