//! The results of a run: statistics, report and table.

pub(super) mod report;
pub(super) mod statistics;
pub(super) mod table;
