//! Writes the results as tables in Markdown.

mod without_goals;

use std::fmt::Write;
use std::path::Path;

use super::comparison::{Cell, Compared, GOAL_MEASURES, Measure};
use super::goals::{self, Goal, GoalCounts, Kind, Outcome, SEVERAL_REPLICAS};
use super::report::{Report, SceneSummary};
use super::run_metrics::RunMetrics;
use crate::policies::GO_CALIBRATED;
use signalbox_bench_report::{Mean, Table, bold_least, short, thousands};

/// Load at which the tables of cached tokens compare the contenders.
const CACHE_LOAD_PERCENT: u32 = 70;

/// Returns the tables of a file of results.
///
/// # Errors
/// Fails when the file is no report.
pub(crate) fn doc_tables(results: &Path) -> anyhow::Result<String> {
    let report = Report::read(results)?;
    let cells = report.cells();
    let mut replica_counts: Vec<_> = cells.iter().map(|cell| cell.replicas).collect();
    replica_counts.sort_unstable();
    replica_counts.dedup();
    let mut text = format!("{}\n\n{}", origin(&report), scenes(&report));
    let _ = write!(text, "\n### Goals\n\n{}", goal_tables(&report));
    for replicas in replica_counts {
        let with = if replicas == 1 { "1 replica".to_owned() } else { format!("{replicas} replicas") };
        let cells: Vec<_> = cells.iter().filter(|cell| cell.replicas == replicas).collect();
        for measure in GOAL_MEASURES {
            let _ = write!(text, "\n### {}, {with}\n\n{}", measure.name, times(&cells, measure));
        }
    }
    let one_go_replica = without_goals::against_one_go_replica(&cells);
    let title = format!("Signalbox with {SEVERAL_REPLICAS} replicas ÷ {GO_CALIBRATED} with 1 replica");
    let _ = write!(text, "\n### {title}\n\n{one_go_replica}");
    let further = without_goals::further_times(&cells);
    let _ = write!(text, "\n### TTFT p99 and time to the last token\n\n{further}");
    let cells: Vec<_> = cells.iter().filter(|cell| cell.load_percent == CACHE_LOAD_PERCENT).collect();
    let _ = write!(text, "\n### Cached tokens at {CACHE_LOAD_PERCENT} % load\n\n{}", cached_tokens(&cells));
    Ok(text)
}

/// Says where the results come from.
fn origin(report: &Report) -> String {
    let seeds: Vec<_> = report.seeds.iter().map(u64::to_string).collect();
    let trace = report.trace.as_ref().map_or_else(
        || "no trace".to_owned(),
        |trace| {
            let requests = thousands(trace.requests as u64);
            format!("trace `{}` with {requests} requests and SHA-256 `{}`", trace.file, trace.sha256)
        },
    );
    let (arguments, seeds) = (report.arguments.join(" "), seeds.join(", "));
    format!("Measured with `{arguments}` at {}; seeds {seeds}; {trace}.", report.provenance)
}

fn scenes(report: &Report) -> String {
    let mut table = Table::new(&["scene", "pods", "requests", "100 % load, requests per second"]);
    for SceneSummary { name, pods, requests, saturation_per_second, .. } in &report.scenes {
        let rate = Mean::of(saturation_per_second.iter().copied());
        let requests = thousands(requests.first().copied().unwrap_or(0) as u64);
        table.row(&[name.clone(), pods.clone(), requests, format!("{:.1} ± {:.1}", rate.mean, rate.error)]);
    }
    table.into_text()
}

fn goal_tables(report: &Report) -> String {
    let goals = goals::goals(report);
    let mut counts = Table::new(&[
        "TTFT of Signalbox",
        "goals",
        "met",
        "of these, only near the lower bound",
        "missed",
        "within 2 standard errors of the limit",
    ]);
    for kind in Kind::ALL {
        let GoalCounts { all, met, near_bound, uncertain } = GoalCounts::of(&goals, kind);
        let [all, met, near_bound, missed, uncertain] =
            [all, met, near_bound, all - met, uncertain].map(|count| count.to_string());
        counts.row(&[kind.description().to_owned(), all, met, near_bound, missed, uncertain]);
    }
    let mut text = counts.into_text();
    let (near, all) = goals::near_bound(report);
    let _ = write!(
        text,
        "\n{near} of {all} values are at most 3 % above the lower bound, which no contender can beat.\n\n"
    );
    text.push_str(&missed(&goals));
    text
}

fn missed(goals: &[Goal]) -> String {
    let mut missed = goals.iter().filter(|goal| goal.outcome == Outcome::Missed).peekable();
    if missed.peek().is_none() {
        return "No goal is missed.\n".to_owned();
    }
    let mut table =
        Table::new(&["missed: scene, load, replicas, value, other", "Signalbox ÷ other", "limit"]);
    for goal in missed {
        table.row(&[goal.text.clone(), ratio(goal.ratio), format!("{:.3}", goal.limit)]);
    }
    table.into_text()
}

/// Returns the times of all contenders, one row per scene and load.
fn times(cells: &[&Cell<'_>], measure: Measure) -> String {
    let contenders = contenders(cells);
    let against_go = format!("Signalbox ÷ {GO_CALIBRATED}");
    let columns = ["scene", "load"].into_iter().chain(contenders.iter().copied());
    let columns = columns.chain(["lower bound", &against_go, "Signalbox ÷ best other"]);
    let mut table = Table::new(&columns.collect::<Vec<_>>());
    for cell in cells {
        let mut row = vec![cell.scene.name.clone(), format!("{} %", cell.load_percent)];
        let value = |contender: &&str| Some((measure.of)(&cell.find(contender)?.mean()));
        row.extend(bold_least(&contenders.iter().map(value).collect::<Vec<_>>(), short));
        row.push(short((measure.of)(&RunMetrics::mean(&cell.scene.lower_bounds))));
        let go = cell.compared_with(GO_CALIBRATED, measure);
        row.push(go.map(|compared| ratio(compared.ratio)).unwrap_or_default());
        row.push(cell.compared_with_best(measure).map(named_ratio).unwrap_or_default());
        table.row(&row);
    }
    table.into_text()
}

/// Returns the share of cached tokens, and how well it was predicted.
fn cached_tokens(cells: &[&Cell<'_>]) -> String {
    let contenders = contenders(cells);
    let columns = ["scene", "replicas"].into_iter().chain(contenders.iter().copied());
    let mut hits = Table::new(&columns.chain(["one cache"]).collect::<Vec<_>>());
    let predicts = |contender: &&&str| {
        let mut results = cells.iter().filter_map(|cell| cell.find(contender));
        results.any(|result| result.mean().prediction_error.is_some())
    };
    let predicting: Vec<&str> = contenders.iter().filter(predicts).copied().collect();
    let columns = ["scene", "replicas"].into_iter().chain(predicting.iter().copied());
    let mut predictions = Table::new(&columns.collect::<Vec<_>>());
    for cell in cells.iter().filter(|cell| cell.scene.shares_prefixes) {
        let begin = [cell.scene.name.clone(), cell.replicas.to_string()];
        let hit_rate = |contender: &&str| {
            cell.find(contender).map(|result| percent(result.mean().hit_rate)).unwrap_or_default()
        };
        let one_cache = percent(RunMetrics::mean(&cell.scene.single_cache).hit_rate);
        let row = begin.iter().cloned().chain(contenders.iter().map(hit_rate)).chain([one_cache]);
        hits.row(&row.collect::<Vec<_>>());
        let prediction = |contender: &&str| {
            cell.find(contender).map(|result| result.mean().prediction_percent()).unwrap_or_default()
        };
        predictions.row(&begin.iter().cloned().chain(predicting.iter().map(prediction)).collect::<Vec<_>>());
    }
    format!(
        "Prompt tokens that were found in caches, in percent:\n\n{}\n\
         Predicted minus found cached tokens, in percent of the prompt tokens: mean absolute error / bias:\n\n{}",
        hits.into_text(),
        predictions.into_text()
    )
}

/// Returns the names of all contenders of the cells, in the order in which they ran.
fn contenders<'a>(cells: &[&Cell<'a>]) -> Vec<&'a str> {
    let mut names: Vec<&str> = Vec::new();
    for result in cells.iter().flat_map(|cell| &cell.results) {
        if !names.contains(&result.contender.as_str()) {
            names.push(&result.contender);
        }
    }
    names
}

fn percent(share: f64) -> String {
    format!("{:.1}", share * 100.0)
}

fn ratio(ratio: Mean) -> String {
    format!("{:.3} ± {:.3}", ratio.mean, ratio.error)
}

fn named_ratio(compared: Compared<'_>) -> String {
    format!("{} ({})", ratio(compared.ratio), compared.other.contender)
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::report;
    use super::*;
    use crate::policies::SIGNALBOX;

    #[test]
    fn best_value_is_bold_whoever_has_it() {
        let report = report([50.0; 2], &[("random", [90.0, 110.0]), (SIGNALBOX, [180.0, 230.0])]);
        let cells = report.cells();
        let text = times(&cells.iter().collect::<Vec<_>>(), GOAL_MEASURES[0]);
        let expected = "| shared-prefix | 70 % | **100** | 205 | 50.0 |  | 2.045 ± 0.045 (random) |";
        assert_eq!(Some(expected), text.lines().last());
    }
}
