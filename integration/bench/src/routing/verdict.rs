//! Whether the goals are met.

use super::figures::Figures;
use super::profile::Profile;
use super::report::{Group, Report};
use crate::policy::{GO_AFFINITY, GO_DEFAULT, OURS};

/// Where prompts share, ours takes at most so much of the time of each Go configuration: with several replicas, and with one.
const OF_GO_WITH_SEVERAL: f64 = 0.8;
const OF_GO_WITH_ONE: f64 = 0.9;

/// Ours is nowhere worse than the best of all by more than this, and what is within this of the lower bound is good enough.
const MARGIN: f64 = 1.03;

/// Of the best static split among unequal pods, ours reaches at least so much.
const OF_BEST_SPLIT: f64 = 0.95;

/// What is compared.
type Measure = (&'static str, fn(&Figures) -> f64);

const MEASURES: [Measure; 2] =
    [("mean", |figures| figures.ttft_mean_ms), ("p90", |figures| figures.ttft_p90_ms)];

/// A goal and what came of it.
struct Verdict {
    is_met: bool,
    line: String,
}

/// Prints which goals are met, and which are not.
pub(super) fn print(report: &Report) {
    let mut verdicts = Vec::new();
    for group in report.groups() {
        let Some(ours) = group.of(OURS) else { continue };
        for measure in MEASURES {
            verdicts.extend(against_go(&group, &ours, measure));
            verdicts.extend(against_best(&group, &ours, measure));
        }
        verdicts.extend(against_split(report, &group, &ours));
    }
    let missed = verdicts.iter().filter(|verdict| !verdict.is_met).count();
    println!("\n== goals: {} of {} met", verdicts.len() - missed, verdicts.len());
    for Verdict { is_met, line } in &verdicts {
        println!("  {} {line}", if *is_met { "met   " } else { "MISSED" });
    }
}

fn place(group: &Group<'_>) -> String {
    format!("{} {} % ×{}", group.profile.name(), group.load_percent, group.replicas)
}

fn against_go(group: &Group<'_>, ours: &Figures, (name, of): Measure) -> Vec<Verdict> {
    if !group.profile.shares() {
        return Vec::new();
    }
    let most = if group.replicas == 1 { OF_GO_WITH_ONE } else { OF_GO_WITH_SEVERAL };
    let against = |go: &str| {
        let theirs = group.of(go)?;
        let (share, of_bound) = (of(ours) / of(&theirs), of(ours) / of(&group.bound));
        let [bound, one_cache] = [&group.bound, &group.one_cache].map(|least| of(least) / of(&theirs));
        let line = format!(
            "{}: TTFT {name} {share:.3} of {go}'s (goal {most}; lower bound {bound:.3}, one cache {one_cache:.3}), \
             {of_bound:.3} of the lower bound",
            place(group)
        );
        Some(Verdict { is_met: share <= most || of_bound <= MARGIN, line })
    };
    [GO_DEFAULT, GO_AFFINITY].into_iter().filter_map(against).collect()
}

fn against_best(group: &Group<'_>, ours: &Figures, (name, of): Measure) -> Option<Verdict> {
    let others = group.cells.iter().filter(|cell| cell.policy != OURS);
    let best = others.min_by(|one, other| of(&one.mean()).total_cmp(&of(&other.mean())))?;
    let share = of(ours) / of(&best.mean());
    let line = format!(
        "{}: TTFT {name} {share:.3} of the best other's, {} (goal {MARGIN})",
        place(group),
        best.policy
    );
    Some(Verdict { is_met: share <= MARGIN, line })
}

/// How close the mean time to the first token comes to that of the static split, found by search, with which it is least.
fn against_split(report: &Report, group: &Group<'_>, ours: &Figures) -> Option<Verdict> {
    if group.profile != Profile::Heterogeneous {
        return None;
    }
    let mean = |cell: &&super::report::Cell| cell.mean().ttft_mean_ms;
    let best = report.splits(group.load_percent).min_by(|one, other| mean(one).total_cmp(&mean(other)))?;
    let share = mean(&best) / ours.ttft_mean_ms;
    let line = format!(
        "{}: {share:.3} of the best static split, {} with {:.0} ms (goal {OF_BEST_SPLIT})",
        place(group),
        best.policy,
        mean(&best)
    );
    Some(Verdict { is_met: share >= OF_BEST_SPLIT, line })
}
