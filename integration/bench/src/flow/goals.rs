//! The goals, and in how many cells each is met.

use std::fmt::Write;

use signalbox_bench_report::{Table, thousands};

use super::caps::Capped;
use super::report::{ALONE, Cell, GO, NONE, Report, SIGNALBOX};

/// Critical requests: the 99th percentile of the time to the first token, relative to critical requests alone.
const TTFT_LIMIT: f64 = 1.15;
/// Tokens served, relative to no flow control.
const SERVED_LIMIT: f64 = 0.99;
/// The longest time for which an endpoint is idle while requests wait, in milliseconds.
const IDLE_LIMIT_MS: f64 = 20.0;
/// Jain's index, and the difference from the weights in percent.
const JAIN_LIMIT: f64 = 0.97;
const OFF_LIMIT_PERCENT: f64 = 5.0;
/// At the lowest load: the greatest difference of the mean time to the first token from that without flow control.
const LOW_LOAD_PERCENT: u32 = 50;
const LOW_LOAD_LIMIT: f64 = 0.01;
/// While no owner is heard: the difference from the fair share in percent.
const GAP_LIMIT_PERCENT: f64 = 10.0;
const GAP_WAITING: u64 = 1_000;
/// By how much more waits than may, in percent.
const EXCESS_LIMIT_PERCENT: f64 = 1.0;

/// A goal, and in how many cells it is met.
pub(super) struct Goal {
    pub(super) name: String,
    pub(super) met: usize,
    pub(super) of: usize,
    /// The worst figure.
    pub(super) worst: f64,
    /// In how many cells the Go EPP would meet it, if that is measured.
    pub(super) go_met: Option<usize>,
}

/// Returns all goals.
pub(super) fn all(report: &Report) -> Vec<Goal> {
    let at_most = |limit: f64| move |value: f64| value <= limit;
    let at_least = |limit: f64| move |value: f64| value >= limit;
    let low = |cell: &Cell| cell.load_percent == LOW_LOAD_PERCENT;
    let single = |name: String, figures: Vec<f64>, is_met: &dyn Fn(f64) -> bool| Goal {
        name,
        met: figures.iter().filter(|figure| is_met(**figure)).count(),
        of: figures.len(),
        worst: figures.iter().copied().fold(0.0, f64::max),
        go_met: None,
    };
    vec![
        goal(
            report,
            format!("critical TTFT p99 ≤ {TTFT_LIMIT} × alone"),
            at_most(TTFT_LIMIT),
            f64::max,
            |cell| report.ratio(cell, ALONE, |of| of.critical_ttft_p99_ms),
        ),
        goal(
            report,
            format!("tokens served ≥ {} % of no flow control", SERVED_LIMIT * 100.0),
            at_least(SERVED_LIMIT),
            f64::min,
            |cell| report.ratio(cell, NONE, |of| of.tokens_per_second),
        ),
        goal(
            report,
            format!("no endpoint idles ≥ {IDLE_LIMIT_MS} ms while a request waits"),
            at_most(IDLE_LIMIT_MS),
            f64::max,
            |cell| cell.most(|of| Some(of.longest_idle_ms)),
        ),
        goal(report, format!("Jain ≥ {JAIN_LIMIT}"), at_least(JAIN_LIMIT), f64::min, |cell| {
            cell.mean(|of| of.jain)
        }),
        goal(
            report,
            format!("≤ {OFF_LIMIT_PERCENT} % off the weights"),
            at_most(OFF_LIMIT_PERCENT),
            f64::max,
            |cell| cell.mean(|of| of.off_percent),
        ),
        goal(report, format!("at {LOW_LOAD_PERCENT} % load nothing waits"), at_most(0.0), f64::max, |cell| {
            low(cell).then(|| cell.most(|of| Some(of.waited)))?
        }),
        goal(
            report,
            format!("at {LOW_LOAD_PERCENT} % load TTFT within {} % of none", LOW_LOAD_LIMIT * 100.0),
            at_most(LOW_LOAD_LIMIT),
            f64::max,
            |cell| {
                let ratio = low(cell).then(|| report.ratio(cell, NONE, |of| of.ttft_mean_ms))?;
                ratio.map(|ratio| (ratio - 1.0).abs())
            },
        ),
        single(
            format!("owner killed while {} wait: none lost or sent twice", thousands(GAP_WAITING)),
            report.kills.iter().map(|of| (of.lost + of.doubled) as f64).collect(),
            &|wrong| wrong == 0.0,
        ),
        single(
            format!("owner killed: shares within {GAP_LIMIT_PERCENT} % in the gap"),
            report
                .kills
                .iter()
                .filter(|of| of.most_waiting >= GAP_WAITING)
                .filter_map(|of| of.off_percent)
                .collect(),
            &|off| off <= GAP_LIMIT_PERCENT,
        ),
        single(
            format!("caps exceeded by ≤ {EXCESS_LIMIT_PERCENT} %"),
            report.caps.iter().filter(|of| of.refused > 0).map(Capped::excess_percent).collect(),
            &|excess| excess <= EXCESS_LIMIT_PERCENT,
        ),
    ]
}

fn goal(
    report: &Report,
    name: String,
    is_met: impl Fn(f64) -> bool,
    worse: fn(f64, f64) -> f64,
    figure: impl Fn(&Cell) -> Option<f64>,
) -> Goal {
    let of = |contender: &'static str| -> Vec<f64> {
        report.cells.iter().filter(|cell| cell.contender == contender).filter_map(&figure).collect()
    };
    let (ours, go) = (of(SIGNALBOX), of(GO));
    let met = |of: &[f64]| of.iter().filter(|figure| is_met(**figure)).count();
    let worst = ours.iter().copied().reduce(worse).unwrap_or(0.0);
    Goal { name, met: met(&ours), of: ours.len(), worst, go_met: Some(met(&go)) }
}

/// Returns the goals as lines.
pub(super) fn text(goals: &[Goal]) -> String {
    goals.iter().fold(String::new(), |mut text, goal| {
        let Goal { name, met, of, worst, go_met } = goal;
        let status = match (met, of) {
            (_, 0) => "absent",
            (met, of) if met == of => "met   ",
            _ => "MISSED",
        };
        let go = go_met.map_or_else(String::new, |go_met| format!("; the Go EPP in {go_met}"));
        let _ = writeln!(text, "  {status} {name}: in {met} of {of} cells; worst {worst:.3}{go}");
        text
    })
}

/// Returns the goals as a table in Markdown.
pub(super) fn table(goals: &[Goal]) -> String {
    let mut table = Table::new(&["goal", "met", "worst", "met by the Go EPP's flow control"]);
    for Goal { name, met, of, worst, go_met } in goals {
        let go = go_met.map_or_else(|| "–".to_owned(), |go_met| format!("{go_met} of {of}"));
        table.row(&[name.clone(), format!("{met} of {of}"), format!("{worst:.3}"), go]);
    }
    table.into_text()
}
