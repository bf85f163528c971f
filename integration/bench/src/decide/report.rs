//! The report of `decide`.

use std::fmt::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};
use signalbox_bench_report::{Provenance, Table, read_report, short, thousands};

use super::admission::{AdmissionCost, AdmissionRun};
use super::fixture::Holders;
use super::measure::{RunCost, percentile};
use super::{LEAST_TIME, LONG_BLOCKS};

/// Goals for lookup and choice: median microseconds with 100 and with 1,000 endpoints.
const GOAL_AT_100_US: f64 = 5.0;
const GOAL_AT_1000_US: f64 = 60.0;

/// Goal for what flow control adds: median microseconds.
const ADMISSION_GOAL_US: f64 = 1.0;

/// All measurements.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Report {
    pub(super) provenance: Provenance,
    pub(super) seeds: u64,
    /// Decisions timed per policy, pool and kind of prompts.
    pub(super) decisions: u32,
    pub(super) costs: Vec<DecisionCost>,
    pub(super) admission: Vec<AdmissionCost>,
}

/// Cost of decisions with one policy, pool size and kind of prompts.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct DecisionCost {
    pub(super) policy: String,
    pub(super) endpoints: usize,
    pub(super) blocks: usize,
    pub(super) holders: Holders,
    /// One entry per seed.
    pub(super) runs: Vec<RunCost>,
}

/// Returns the tables of a file of results.
///
/// # Errors
/// Fails when the file is no report.
pub(crate) fn doc_tables(path: &Path) -> anyhow::Result<String> {
    Ok(read_report::<Report>(path, "decide")?.to_markdown())
}

impl Report {
    /// Returns the results as a table and the goals in Markdown.
    pub(super) fn to_markdown(&self) -> String {
        let mut table = Table::new(&[
            "policy",
            "endpoints",
            "blocks",
            "held by",
            "parse and hash, µs",
            "lookup, µs",
            "choice, µs",
            "lookup and choice, µs",
            "p99",
            "all, µs",
            "allocations of lookup and choice",
        ]);
        for cost in &self.costs {
            let us = |of: fn(&RunCost) -> f64| short(cost.median(of) / 1e3);
            table.row(&[
                cost.policy.clone(),
                thousands(cost.endpoints as u64),
                thousands(cost.blocks as u64),
                cost.holders.name().to_owned(),
                us(|run| run.parse_median_ns),
                us(|run| run.lookup_median_ns),
                us(|run| run.choice_median_ns),
                format!("{} ± {}", us(|run| run.decision_median_ns), short(cost.half_range_us())),
                us(|run| run.decision_p99_ns),
                us(|run| run.total_median_ns),
                cost.allocations().to_string(),
            ]);
        }
        let (seeds, decisions) = (self.seeds, thousands(u64::from(self.decisions)));
        format!(
            "Measured at {}; {decisions} decisions for each of {seeds} generated pools; medians, ± half the range of the pools' medians.\n\n{}\n{}{}",
            self.provenance,
            table.into_text(),
            self.goals(),
            self.admission()
        )
    }

    /// Returns what flow control adds as a table and its goal in Markdown.
    fn admission(&self) -> String {
        let mut table =
            Table::new(&["endpoints", "the chosen endpoint", "admission, µs", "p99", "allocations"]);
        let us = |cost: &AdmissionCost, of: fn(&AdmissionRun) -> f64| format!("{:.2}", cost.median(of) / 1e3);
        for cost in &self.admission {
            table.row(&[
                thousands(cost.endpoints as u64),
                cost.found.name().to_owned(),
                us(cost, |run| run.median_ns),
                us(cost, |run| run.p99_ns),
                cost.allocations().to_string(),
            ]);
        }
        let mut text = format!(
            "\nWhat flow control adds while the pool is not full:\n\n{}\nGoal for admission:\n\n",
            table.into_text()
        );
        for cost in &self.admission {
            let median_us = cost.median(|run| run.median_ns) / 1e3;
            let (endpoints, found) = (thousands(cost.endpoints as u64), cost.found.name());
            let is_met = outcome(median_us <= ADMISSION_GOAL_US);
            let _ = writeln!(
                text,
                "- {is_met}: {endpoints} endpoints, the chosen one {found}: {median_us:.2} µs of at most {ADMISSION_GOAL_US} µs"
            );
        }
        text
    }

    /// Returns the goals as a list in Markdown.
    fn goals(&self) -> String {
        let least_time = || self.costs.iter().filter(|cost| cost.policy == LEAST_TIME);
        let mut text = String::from("Goals for lookup and choice with the least-time policy:\n\n");
        for cost in least_time() {
            let goal_us = match (cost.endpoints, cost.blocks) {
                (100, _) => GOAL_AT_100_US,
                (1_000, LONG_BLOCKS) => GOAL_AT_1000_US,
                _ => continue,
            };
            let median_us = cost.median(|run| run.decision_median_ns) / 1e3;
            let (endpoints, holders) = (thousands(cost.endpoints as u64), cost.holders.name());
            let blocks = thousands(cost.blocks as u64);
            let _ = writeln!(
                text,
                "- {}: {endpoints} endpoints, {blocks} blocks held by {holders}: {median_us:.1} µs of at most {goal_us} µs",
                outcome(median_us <= goal_us)
            );
        }
        let is_constant = |cost: &DecisionCost| {
            let mut same =
                least_time().filter(|other| (other.blocks, other.holders) == (cost.blocks, cost.holders));
            same.all(|other| other.allocations() == cost.allocations())
        };
        let is_met = least_time().all(is_constant);
        let _ = writeln!(
            text,
            "- {}: the number of allocations does not depend on the number of endpoints",
            outcome(is_met)
        );
        text
    }
}

impl DecisionCost {
    /// Returns the median over the seeds.
    fn median(&self, of: impl Fn(&RunCost) -> f64) -> f64 {
        percentile(self.runs.iter().map(of).collect(), 50)
    }

    /// Returns half the range of the seeds' medians in microseconds.
    fn half_range_us(&self) -> f64 {
        let medians = || self.runs.iter().map(|run| run.decision_median_ns / 1e3);
        (medians().fold(0.0, f64::max) - medians().fold(f64::INFINITY, f64::min)) / 2.0
    }

    /// Returns the greatest number of allocations over the seeds.
    fn allocations(&self) -> u64 {
        self.runs.iter().map(|run| run.allocations).max().unwrap_or(0)
    }
}

fn outcome(is_met: bool) -> &'static str {
    if is_met { "met" } else { "**missed**" }
}
