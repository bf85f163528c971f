//! Formats the results as a table.

use std::time::Duration;

use crate::scenario::Row;

/// How many failures and problems of a row are printed.
const PRINTED: usize = 5;

/// The result of a row.
#[derive(Clone, Debug)]
pub struct Report {
    /// The row.
    pub row: Row,
    /// The number of requests sent.
    pub requests: usize,
    /// The reason of each failed request.
    pub failures: Vec<String>,
    /// The number of responses that broke because a killed replica was streaming them.
    pub cut: usize,
    /// The number of streams that killed replicas carried: the most responses that can break.
    pub carried: u64,
    /// The number of retries by the outer listener.
    pub retries: u64,
    /// The number of snapshots that replaced a replica's view.
    pub snapshots: u64,
    /// The longest time from a request to the start of its response.
    pub slowest: Duration,
    /// The time from the end of the fault until everything was healthy; `None` when that did not happen.
    pub healthy_after: Option<Duration>,
    /// The time from the start of the fault until all replicas followed a new owner, if they did.
    pub failover: Option<Duration>,
    /// What was seen of the fault's effects.
    pub evidence: Vec<String>,
    /// Other violated checks.
    pub problems: Vec<String>,
}

impl Report {
    /// Returns the report of a row that could not be run.
    pub(crate) fn not_run(row: Row, error: &anyhow::Error) -> Self {
        Self {
            row,
            requests: 0,
            failures: Vec::new(),
            cut: 0,
            carried: 0,
            retries: 0,
            snapshots: 0,
            slowest: Duration::ZERO,
            healthy_after: None,
            failover: None,
            evidence: Vec::new(),
            problems: vec![format!("{error:#}")],
        }
    }

    /// Returns whether all checks passed.
    pub fn passed(&self) -> bool {
        self.failures.is_empty() && self.problems.is_empty()
    }

    /// Returns the row's line of the table.
    fn line(&self) -> String {
        let seconds = |time: Option<Duration>| {
            time.map_or_else(|| "-".to_owned(), |time| format!("{:.2} s", time.as_secs_f64()))
        };
        let Self { row, requests, cut, carried, retries, snapshots, .. } = self;
        let failed = self.failures.len();
        let (slowest, healthy, failover) =
            (seconds(Some(self.slowest)), seconds(self.healthy_after), seconds(self.failover));
        let verdict = if self.passed() { "passed" } else { "FAILED" };
        format!(
            "| {row} | {requests} | {failed} | {cut} of {carried} | {retries} | {slowest} | {snapshots} | {healthy} | {failover} | {verdict} |"
        )
    }

    /// Returns one line for each effect of the fault that was seen.
    pub fn evidence(&self) -> String {
        self.evidence.iter().flat_map(|seen| [self.row.to_string(), format!(": {seen}\n")]).collect()
    }

    /// Returns one line for each failure and problem, up to a limit.
    fn details(&self) -> Vec<String> {
        let (failures, problems) = (self.failures.iter().take(PRINTED), self.problems.iter().take(PRINTED));
        let failures = failures.map(|why| format!("  request failed: {why}"));
        failures.chain(problems.map(|problem| format!("  {problem}"))).collect()
    }
}

/// Returns a Markdown table of all reports, followed by the details of the failed rows.
pub fn table(reports: &[Report]) -> String {
    let head = "| row | requests | failed | cut of carried by the kill | retries | slowest start | snapshots | healthy after | new owner after | result |\n\
        |---|---|---|---|---|---|---|---|---|---|";
    let mut lines = vec![head.to_owned()];
    lines.extend(reports.iter().map(Report::line));
    for report in reports.iter().filter(|report| !report.passed()) {
        lines.push(format!("{}:", report.row));
        lines.extend(report.details());
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Report, table};
    use crate::scenario::{ALL, Fault, Row};

    /// Returns what is wrong with a row's line of the document's table.
    fn problem(line: &str, row: &Row) -> Option<&'static str> {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [name, requests, failed, cut, retries, slowest, snapshots, healthy, failover, result] = cells[..]
        else {
            return Some("it has not one cell for each column");
        };
        let is_count = |cell: &str| cell.parse::<u64>().is_ok();
        let is_time =
            |cell: &str| cell.strip_suffix(" s").is_some_and(|seconds| seconds.parse::<f64>().is_ok());
        let is_share =
            cut.split_once(" of ").is_some_and(|(cut, carried)| is_count(cut) && is_count(carried));
        let checks = [
            (name == row.to_string(), "it is of another row"),
            (requests.parse().is_ok_and(|requests: u64| requests > 0), "it has no number of requests"),
            (failed == "0" && result == "passed", "the row failed"),
            (is_share && is_count(retries) && is_count(snapshots), "a count is missing"),
            (is_time(slowest) && (failover == "-" || is_time(failover)), "a time is missing"),
            (is_time(healthy) || row.fault == Fault::RollingRestart, "no time until everything was healthy"),
        ];
        checks.into_iter().find(|(is_good, _)| !is_good).map(|(_, problem)| problem)
    }

    #[test]
    fn document_has_a_result_for_every_row() {
        let document = include_str!("../../../docs/CHAOS.md");
        let (_, results) = document.split_once(&table(&[])).expect("the document has the command's table");
        let lines: Vec<&str> = results.lines().skip(1).take_while(|line| line.starts_with('|')).collect();
        assert_eq!(lines.len(), ALL.len());
        for (line, row) in lines.into_iter().zip(ALL) {
            assert_eq!(problem(line, row), None, "{line}");
        }
    }

    #[test]
    fn result_needs_figures() {
        let row = &ALL[0];
        let problem = |figures: &str| problem(&format!("| {row} | {figures} |"), row);
        assert_eq!(problem("9 | 0 | 1 of 2 | 0 | 0.50 s | 0 | 1.50 s | - | passed"), None);
        for figures in [
            "- | 0 | 1 of 2 | 0 | 0.50 s | 0 | 1.50 s | - | passed",
            "9 | 1 | 1 of 2 | 0 | 0.50 s | 0 | 1.50 s | - | FAILED",
            "9 | 0 | - | 0 | 0.50 s | 0 | 1.50 s | - | passed",
            "9 | 0 | 1 of 2 | 0 | - | 0 | 1.50 s | - | passed",
            "9 | 0 | 1 of 2 | 0 | 0.50 s | 0 | - | - | passed",
            "see another run",
        ] {
            assert!(problem(figures).is_some(), "{figures}");
        }
    }

    #[test]
    fn row_passes_only_without_failures_and_problems() {
        let good = Report {
            requests: 9,
            healthy_after: Some(Duration::from_millis(1_500)),
            problems: Vec::new(),
            ..Report::not_run(ALL[0], &anyhow::anyhow!("x"))
        };
        assert!(good.passed());
        assert!(
            table(std::slice::from_ref(&good))
                .ends_with("| 9 | 0 | 0 of 0 | 0 | 0.00 s | 0 | 1.50 s | - | passed |")
        );
        let failed = Report { failures: vec!["503".to_owned()], ..good.clone() };
        let odd = Report { problems: vec!["odd".to_owned()], ..good };
        assert!(!failed.passed() && !odd.passed());
        assert!(table(&[failed]).ends_with("request failed: 503") && table(&[odd]).ends_with("  odd"));
    }
}
