//! The table.

use std::time::Duration;

use crate::rows::Row;

/// Failures and problems of a row that are printed.
const SHOWN: usize = 5;

/// What came of a row.
#[derive(Clone, Debug)]
pub struct Report {
    /// The row.
    pub row: Row,
    /// Requests sent.
    pub requests: usize,
    /// Why requests failed.
    pub failures: Vec<String>,
    /// Responses that broke because the killed replica was carrying them.
    pub cut: usize,
    /// Attempts that the outer listener made beyond the first.
    pub retries: u64,
    /// Snapshots that replicas took which had a view before.
    pub snapshots: u64,
    /// The longest time from a request to the beginning of its answer.
    pub slowest: Duration,
    /// From the end of the fault until all was healthy again; `None`: it was not.
    pub healthy_after: Option<Duration>,
    /// From the beginning of the fault until all replicas followed a new owner, if they did.
    pub failover: Option<Duration>,
    /// What else was not as it should be.
    pub problems: Vec<String>,
}

impl Report {
    /// That of a row that could not be played.
    pub(crate) fn unplayed(row: Row, error: &anyhow::Error) -> Self {
        Self {
            row,
            requests: 0,
            failures: Vec::new(),
            cut: 0,
            retries: 0,
            snapshots: 0,
            slowest: Duration::ZERO,
            healthy_after: None,
            failover: None,
            problems: vec![format!("{error:#}")],
        }
    }

    /// Whether all was as it should be.
    pub fn passed(&self) -> bool {
        self.failures.is_empty() && self.problems.is_empty()
    }

    /// Its line of the table.
    fn line(&self) -> String {
        let seconds = |time: Option<Duration>| {
            time.map_or_else(|| "-".to_owned(), |time| format!("{:.2} s", time.as_secs_f64()))
        };
        let Self { row, requests, cut, retries, snapshots, .. } = self;
        let failed = self.failures.len();
        let (slowest, healthy, failover) =
            (seconds(Some(self.slowest)), seconds(self.healthy_after), seconds(self.failover));
        let verdict = if self.passed() { "passed" } else { "FAILED" };
        format!(
            "| {row} | {requests} | {failed} | {cut} | {retries} | {slowest} | {snapshots} | {healthy} | {failover} | {verdict} |"
        )
    }

    /// What went wrong, a line each.
    fn complaints(&self) -> Vec<String> {
        let (failures, problems) = (self.failures.iter().take(SHOWN), self.problems.iter().take(SHOWN));
        let failures = failures.map(|why| format!("  a request failed: {why}"));
        failures.chain(problems.map(|problem| format!("  {problem}"))).collect()
    }
}

/// The table of all reports, as Markdown, and what went wrong below it.
pub fn table(reports: &[Report]) -> String {
    let head = "| row | requests | failed | cut by the kill | retries | slowest to begin | snapshots | healthy again after | new owner after | |\n\
        |---|---|---|---|---|---|---|---|---|---|";
    let mut lines = vec![head.to_owned()];
    lines.extend(reports.iter().map(Report::line));
    for report in reports.iter().filter(|report| !report.passed()) {
        lines.push(format!("{}:", report.row));
        lines.extend(report.complaints());
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Report, table};
    use crate::rows::ALL;

    #[test]
    fn a_row_passes_without_failures_and_problems_alone() {
        let whole = Report {
            requests: 9,
            healthy_after: Some(Duration::from_millis(1_500)),
            problems: Vec::new(),
            ..Report::unplayed(ALL[0], &anyhow::anyhow!("x"))
        };
        assert!(whole.passed());
        assert!(
            table(std::slice::from_ref(&whole))
                .ends_with("| 9 | 0 | 0 | 0 | 0.00 s | 0 | 1.50 s | - | passed |")
        );
        let failed = Report { failures: vec!["503".to_owned()], ..whole.clone() };
        let odd = Report { problems: vec!["odd".to_owned()], ..whole };
        assert!(!failed.passed() && !odd.passed());
        assert!(table(&[failed]).ends_with("a request failed: 503") && table(&[odd]).ends_with("  odd"));
    }
}
