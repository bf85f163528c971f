//! The results of a run: outcomes, statistics, report and table.

pub(super) mod goals;
pub(super) mod latencies;
pub(super) mod outcome;
mod quotients;
pub(super) mod report;
pub(super) mod statistics;
pub(super) mod table;
pub(super) mod tiers;
