//! The results as tables in Markdown.

use std::fmt::Write;

use signalbox_bench_report::{Table, mean};

use super::caps::{self, Capped};
use super::metrics::Metrics;
use super::owner_kill::{GAP_S, Killed};
use super::report::{ALONE, Cell, GO, NONE, Report, SIGNALBOX};
use super::scenes::SCENES;

/// Returns all tables: the scenes, the cells, the kills of an owner, and the limits on what may wait.
pub(super) fn all(report: &Report) -> String {
    let mut text = format!("{}\n{}", scenes(report), cells(report));
    if !report.kills.is_empty() {
        let _ = write!(
            text,
            "\nThe owner is killed, and no other one takes over for {GAP_S} s; one row per seed:\n\n{}",
            kills(&report.kills)
        );
    }
    if !report.caps.is_empty() {
        let _ = write!(
            text,
            "\nAt {} % load, the requests of the lowest tier that may wait are limited; one row per seed:\n\n{}",
            caps::LOAD_PERCENT,
            capped(&report.caps)
        );
    }
    text
}

fn scenes(report: &Report) -> String {
    let mut table = Table::new(&["scene", "what is sent", "requests/s at 100 %"]);
    for scene in &SCENES {
        let of = report.capacity_per_second.iter().filter(|(name, _)| name == scene.name);
        if let Some(mean) = mean(of.map(|(_, rate)| *rate)) {
            table.row(&[scene.name.to_owned(), scene.about.to_owned(), format!("{mean:.1}")]);
        }
    }
    table.into_text()
}

fn cells(report: &Report) -> String {
    let mut table = Table::new(&[
        "scene",
        "load",
        "replicas",
        "critical TTFT p99 ÷ alone: ours, Go's, none",
        "tokens/s ÷ none: ours, Go's",
        "Jain: ours, Go's",
        "off the weights: ours, Go's",
        "longest idle: ours, Go's (ms)",
        "waited: ours, Go's",
        "mean TTFT ÷ none",
    ]);
    for cell in report.cells.iter().filter(|cell| cell.contender == SIGNALBOX) {
        table.row(&row(report, cell));
    }
    table.into_text()
}

fn row(report: &Report, cell: &Cell) -> [String; 10] {
    let (go, none) = (report.other(cell, GO), report.other(cell, NONE));
    let p99 = |of: Option<&Cell>| {
        figure(of.and_then(|of| report.ratio(of, ALONE, |of| of.critical_ttft_p99_ms)), 2)
    };
    let served =
        |of: Option<&Cell>| figure(of.and_then(|of| report.ratio(of, NONE, |of| of.tokens_per_second)), 3);
    let pair = |of: &dyn Fn(&Metrics) -> Option<f64>, digits| {
        format!("{}, {}", figure(cell.mean(of), digits), figure(go.and_then(|go| go.mean(of)), digits))
    };
    [
        cell.scene.clone(),
        format!("{} %", cell.load_percent),
        cell.replicas.to_string(),
        format!("**{}**, {}, {}", p99(Some(cell)), p99(go), p99(none)),
        format!("**{}**, {}", served(Some(cell)), served(go)),
        pair(&|of| of.jain, 3),
        format!("{} %", pair(&|of| of.off_percent, 1)),
        pair(&|of| Some(of.longest_idle_ms), 0),
        format!("{} %", pair(&|of| Some(of.waited * 100.0), 1)),
        figure(report.ratio(cell, NONE, |of| of.ttft_mean_ms), 3),
    ]
}

fn figure(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.digits$}"))
}

fn kills(kills: &[Killed]) -> String {
    let mut table = Table::new(&[
        "scene",
        "requests",
        "most that waited",
        "lost",
        "sent twice",
        "off the fair share in the gap",
    ]);
    for Killed { scene, requests, most_waiting, lost, doubled, off_percent } in kills {
        table.row(&[
            scene.clone(),
            requests.to_string(),
            most_waiting.to_string(),
            lost.to_string(),
            doubled.to_string(),
            format!("{} %", figure(*off_percent, 1)),
        ]);
    }
    table.into_text()
}

fn capped(caps: &[Capped]) -> String {
    let mut table = Table::new(&["replicas", "limit", "most that waited", "refused"]);
    for Capped { replicas, cap, most_waiting, refused } in caps {
        table.row(&[replicas, &(*cap as usize), &(*most_waiting as usize), refused].map(ToString::to_string));
    }
    table.into_text()
}
