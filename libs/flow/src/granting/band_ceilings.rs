//! The ceilings of the bands in which requests can wait.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use crate::settings::{DEFAULT_PRIORITY, FlowSettings};

/// The bands that have a ceiling: those that the granter knows, those that are configured, and that of requests without a
/// priority. So a lower band does not take the room of a higher one while nothing of that waits.
#[derive(Debug)]
pub(super) struct BandCeilings {
    /// All bands, highest first.
    priorities: Vec<i32>,
    /// Where the granter's bands are among them, highest first.
    positions: Vec<usize>,
}

impl BandCeilings {
    /// Returns the bands for a granter that has those of the priorities `present`.
    pub(super) fn new(settings: &FlowSettings, present: impl Iterator<Item = i32> + Clone) -> Self {
        let configured = settings.bands.keys().copied().chain([DEFAULT_PRIORITY]);
        let present = present.map(Reverse);
        let all: BTreeSet<_> = configured.map(Reverse).chain(present.clone()).collect();
        let positions =
            all.iter().enumerate().filter(|(_, priority)| present.clone().any(|of| of == **priority));
        let positions = positions.map(|(at, _)| at).collect();
        Self { priorities: all.into_iter().map(|Reverse(priority)| priority).collect(), positions }
    }

    /// Returns the ceilings of the granter's bands, highest first, at this saturation of the pool.
    pub(super) fn at(&self, settings: &FlowSettings, saturation: f64) -> Vec<f64> {
        let all = settings.ceilings.of(&self.priorities, saturation);
        self.positions.iter().map(|at| all[*at]).collect()
    }
}
