//! Checks whether the goals are met.

use super::profile::Profile;
use super::report::{Comparison, Report};
use super::run_metrics::RunMetrics;
use crate::policy::{GO_AFFINITY, GO_DEFAULT, SIGNALBOX};

/// For prompts with shared prefixes: maximum time of Signalbox relative to each Go configuration, with
/// several replicas and with one.
const GO_SHARE_WITH_SEVERAL_REPLICAS: f64 = 0.8;
const GO_SHARE_WITH_ONE_REPLICA: f64 = 0.9;

/// Maximum time of Signalbox relative to the best of all policies. A time within this factor of the lower
/// bound also meets the goal.
const MARGIN: f64 = 1.03;

/// Minimum performance of Signalbox relative to the best static split between unequal pods.
const BEST_SPLIT_SHARE: f64 = 0.95;

/// Name and accessor of a compared value.
type Measure = (&'static str, fn(&RunMetrics) -> f64);

const MEASURES: [Measure; 2] =
    [("mean", |metrics| metrics.ttft_mean_ms), ("p90", |metrics| metrics.ttft_p90_ms)];

/// A goal and whether it is met.
struct GoalResult {
    is_met: bool,
    text: String,
}

/// Prints which goals are met and which are missed.
pub(super) fn print(report: &Report) {
    let mut goals = Vec::new();
    for comparison in report.comparisons() {
        let Some(signalbox) = comparison.metrics_of(SIGNALBOX) else { continue };
        for measure in MEASURES {
            goals.extend(compare_with_go(&comparison, &signalbox, measure));
            goals.extend(compare_with_best(&comparison, &signalbox, measure));
        }
        goals.extend(compare_with_split(report, &comparison, &signalbox));
    }
    let missed = goals.iter().filter(|goal| !goal.is_met).count();
    println!("\n== goals: {} of {} met", goals.len() - missed, goals.len());
    for GoalResult { is_met, text } in &goals {
        println!("  {} {text}", if *is_met { "met   " } else { "MISSED" });
    }
}

fn scenario(comparison: &Comparison<'_>) -> String {
    format!("{} {} % ×{}", comparison.profile.name(), comparison.load_percent, comparison.replicas)
}

fn compare_with_go(
    comparison: &Comparison<'_>,
    signalbox: &RunMetrics,
    (name, of): Measure,
) -> Vec<GoalResult> {
    if !comparison.profile.has_shared_prefixes() {
        return Vec::new();
    }
    let most =
        if comparison.replicas == 1 { GO_SHARE_WITH_ONE_REPLICA } else { GO_SHARE_WITH_SEVERAL_REPLICAS };
    let against = |go: &str| {
        let go_metrics = comparison.metrics_of(go)?;
        let (share, share_of_bound) =
            (of(signalbox) / of(&go_metrics), of(signalbox) / of(&comparison.lower_bound));
        let [bound, single_cache] =
            [&comparison.lower_bound, &comparison.single_cache].map(|least| of(least) / of(&go_metrics));
        let text = format!(
            "{}: TTFT {name} {share:.3} of {go}'s (goal {most}; lower bound {bound:.3}, one cache {single_cache:.3}), \
             {share_of_bound:.3} of the lower bound",
            scenario(comparison)
        );
        Some(GoalResult { is_met: share <= most || share_of_bound <= MARGIN, text })
    };
    [GO_DEFAULT, GO_AFFINITY].into_iter().filter_map(against).collect()
}

fn compare_with_best(
    comparison: &Comparison<'_>,
    signalbox: &RunMetrics,
    (name, of): Measure,
) -> Option<GoalResult> {
    let others = comparison.results.iter().filter(|result| result.policy != SIGNALBOX);
    let best = others.min_by(|one, other| of(&one.mean()).total_cmp(&of(&other.mean())))?;
    let share = of(signalbox) / of(&best.mean());
    let text = format!(
        "{}: TTFT {name} {share:.3} of the best other policy, {} (goal {MARGIN})",
        scenario(comparison),
        best.policy
    );
    Some(GoalResult { is_met: share <= MARGIN, text })
}

/// Compares the mean time to first token with that of the best static split, which is found by search.
fn compare_with_split(
    report: &Report,
    comparison: &Comparison<'_>,
    signalbox: &RunMetrics,
) -> Option<GoalResult> {
    if comparison.profile != Profile::Heterogeneous {
        return None;
    }
    let mean = |result: &&super::report::PolicyResult| result.mean().ttft_mean_ms;
    let best =
        report.splits(comparison.load_percent).min_by(|one, other| mean(one).total_cmp(&mean(other)))?;
    let share = mean(&best) / signalbox.ttft_mean_ms;
    let text = format!(
        "{}: {share:.3} of the best static split, {} with {:.0} ms (goal {BEST_SPLIT_SHARE})",
        scenario(comparison),
        best.policy,
        mean(&best)
    );
    Some(GoalResult { is_met: share >= BEST_SPLIT_SHARE, text })
}
