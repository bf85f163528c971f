//! Checks whether the goals are met.

use super::comparison::{Cell, Compared, GOAL_MEASURES, Measure, ratio_over_cells};
use super::report::Report;
use crate::policies::GO_CALIBRATED;
use signalbox_bench_report::Mean;

/// Maximum time relative to the calibrated Go configuration's with several replicas, where prompts share
/// prefixes.
const GO_LIMIT: f64 = 0.8;

/// Number of replicas from which [`GO_LIMIT`] applies.
pub(super) const SEVERAL_REPLICAS: usize = 4;

/// Maximum time relative to the best other contender's. A value within this factor of the lower bound is near
/// the bound.
pub(super) const MARGIN: f64 = 1.03;

/// Maximum time relative to the best static split's between unequal pods: 95 % of its performance.
const SPLIT_LIMIT: f64 = 1.0 / 0.95;

/// What a goal compares with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    CalibratedGo,
    BestOther,
    AllCells,
    StaticSplit,
}

/// Whether a goal is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Met,
    /// Met, but only because nothing can be much better than the lower bound: against Go, Signalbox misses the
    /// limit and is near the bound; against the best other, even that is near the bound.
    MetNearBound,
    Missed,
}

/// A goal: a ratio with its limit.
#[derive(Debug)]
pub(super) struct Goal {
    pub(super) kind: Kind,
    pub(super) outcome: Outcome,
    /// What was compared, where.
    pub(super) text: String,
    pub(super) ratio: Mean,
    pub(super) limit: f64,
}

/// How many goals of a kind are met.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct GoalCounts {
    pub(super) all: usize,
    pub(super) met: usize,
    /// Of the met ones, those with [`Outcome::MetNearBound`].
    pub(super) near_bound: usize,
    /// Those whose ratio is within two standard errors of the limit.
    pub(super) uncertain: usize,
}

impl Kind {
    pub(super) const ALL: [Self; 4] =
        [Self::CalibratedGo, Self::BestOther, Self::AllCells, Self::StaticSplit];

    /// Describes the goals of this kind.
    pub(super) fn description(self) -> &'static str {
        match self {
            Self::CalibratedGo => {
                "at least 20 % less than calibrated Go, with 4 or more replicas, where prompts share prefixes"
            }
            Self::BestOther => "at most 3 % more than the best other contender",
            Self::AllCells => {
                "with 1 replica, less than each other contender in the geometric mean over all cells"
            }
            Self::StaticSplit => {
                "on mixed machines, at least 95 % of the performance of the best static split"
            }
        }
    }
}

impl Goal {
    fn is_uncertain(&self) -> bool {
        (self.ratio.mean - self.limit).abs() < 2.0 * self.ratio.error
    }
}

impl GoalCounts {
    pub(super) fn of(goals: &[Goal], kind: Kind) -> Self {
        let count = |is_counted: &dyn Fn(&Goal) -> bool| {
            goals.iter().filter(|goal| goal.kind == kind && is_counted(goal)).count()
        };
        Self {
            all: count(&|_| true),
            met: count(&|goal| goal.outcome != Outcome::Missed),
            near_bound: count(&|goal| goal.outcome == Outcome::MetNearBound),
            uncertain: count(&Goal::is_uncertain),
        }
    }
}

/// Returns all goals that the results allow to check.
pub(super) fn goals(report: &Report) -> Vec<Goal> {
    let mut goals = Vec::new();
    for cell in report.cells() {
        for measure in GOAL_MEASURES {
            goals.extend(compare_with_go(&cell, measure));
            goals.extend(compare_with_best(&cell, measure));
        }
        goals.extend(compare_with_split(&cell));
    }
    goals.extend(compare_over_cells(report));
    goals
}

/// Returns in how many of all values Signalbox is near the lower bound.
pub(super) fn near_bound(report: &Report) -> (usize, usize) {
    let cells = report.cells();
    let ratios = cells.iter().flat_map(|cell| GOAL_MEASURES.map(|measure| cell.ratio_to_bound(measure)));
    let ratios: Vec<_> = ratios.flatten().collect();
    (ratios.iter().filter(|ratio| ratio.mean <= MARGIN).count(), ratios.len())
}

fn compare_with_go(cell: &Cell<'_>, measure: Measure) -> Option<Goal> {
    if !cell.scene.shares_prefixes || cell.replicas < SEVERAL_REPLICAS {
        return None;
    }
    let Compared { ratio, .. } = cell.compared_with(GO_CALIBRATED, measure)?;
    let is_near_bound = cell.ratio_to_bound(measure)?.mean <= MARGIN;
    let outcome = match ratio.mean <= GO_LIMIT {
        true => Outcome::Met,
        false if is_near_bound => Outcome::MetNearBound,
        false => Outcome::Missed,
    };
    let text = format!("{}, {}, {GO_CALIBRATED}", cell.name(), measure.name);
    Some(Goal { kind: Kind::CalibratedGo, outcome, text, ratio, limit: GO_LIMIT })
}

fn compare_with_best(cell: &Cell<'_>, measure: Measure) -> Option<Goal> {
    let Compared { other, ratio } = cell.compared_with_best(measure)?;
    let is_near_bound = cell.share_of_bound(other, measure) <= MARGIN;
    let outcome = match ratio.mean <= MARGIN {
        true if is_near_bound => Outcome::MetNearBound,
        true => Outcome::Met,
        false => Outcome::Missed,
    };
    let text = format!("{}, {}, {}", cell.name(), measure.name, other.contender);
    Some(Goal { kind: Kind::BestOther, outcome, text, ratio, limit: MARGIN })
}

/// Compares the mean time to first token with that of the best static split, which is found by search.
fn compare_with_split(cell: &Cell<'_>) -> Option<Goal> {
    let [measure, _] = GOAL_MEASURES;
    let Compared { other, ratio } = cell.compared_with_split(measure)?;
    let outcome = if ratio.mean <= SPLIT_LIMIT { Outcome::Met } else { Outcome::Missed };
    let text = format!("{}, {}, {}", cell.name(), measure.name, other.contender);
    Some(Goal { kind: Kind::StaticSplit, outcome, text, ratio, limit: SPLIT_LIMIT })
}

fn compare_over_cells(report: &Report) -> Vec<Goal> {
    let mut contenders: Vec<&str> = Vec::new();
    for result in report.results.iter().filter(|result| result.is_other()) {
        if !contenders.contains(&result.contender.as_str()) {
            contenders.push(&result.contender);
        }
    }
    let goal = |contender: &str| {
        let ratio = ratio_over_cells(report, 1, contender)?;
        let outcome = if ratio.mean < 1.0 { Outcome::Met } else { Outcome::Missed };
        let [measure, _] = GOAL_MEASURES;
        let text = format!("all cells ×1, {}, {contender}", measure.name);
        Some(Goal { kind: Kind::AllCells, outcome, text, ratio, limit: 1.0 })
    };
    contenders.into_iter().filter_map(goal).collect()
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::report;
    use super::*;
    use crate::policies::SIGNALBOX;
    use crate::routing::RunMetrics;
    use crate::routing::report::ContenderResult;

    fn outcome(report: &Report, kind: Kind) -> Outcome {
        let goals = goals(report);
        // The first goal compares the mean.
        goals.iter().find(|goal| goal.kind == kind).expect("the report allows to check this kind").outcome
    }

    #[test]
    fn limits_are_those_of_the_goals() {
        let against = |signalbox: f64, other: &str| {
            let contenders = [(SIGNALBOX, [signalbox; 2]), (other, [100.0; 2])];
            report([10.0; 2], &contenders)
        };
        assert_eq!(Outcome::Met, outcome(&against(79.0, GO_CALIBRATED), Kind::CalibratedGo));
        assert_eq!(Outcome::Missed, outcome(&against(81.0, GO_CALIBRATED), Kind::CalibratedGo));
        assert_eq!(Outcome::Met, outcome(&against(102.0, "random"), Kind::BestOther));
        assert_eq!(Outcome::Missed, outcome(&against(104.0, "random"), Kind::BestOther));
        assert_eq!(Outcome::Met, outcome(&against(105.0, "split 2:1"), Kind::StaticSplit));
        assert_eq!(Outcome::Missed, outcome(&against(106.0, "split 2:1"), Kind::StaticSplit));
    }

    #[test]
    fn goals_near_the_bound_are_counted_apart() {
        let contenders = [(SIGNALBOX, [92.0; 2]), (GO_CALIBRATED, [92.0; 2])];
        let near = report([90.0; 2], &contenders);
        assert_eq!(Outcome::MetNearBound, outcome(&near, Kind::CalibratedGo));
        assert_eq!(Outcome::MetNearBound, outcome(&near, Kind::BestOther));
        let far = report([50.0; 2], &contenders);
        assert_eq!(Outcome::Missed, outcome(&far, Kind::CalibratedGo));
        assert_eq!(Outcome::Met, outcome(&far, Kind::BestOther));
        let counts = GoalCounts::of(&goals(&near), Kind::CalibratedGo);
        assert_eq!(GoalCounts { all: 2, met: 2, near_bound: 2, uncertain: 0 }, counts);
    }

    #[test]
    fn best_other_may_be_any_contender() {
        let contenders = [(SIGNALBOX, [100.0; 2]), (GO_CALIBRATED, [150.0; 2]), ("random", [80.0; 2])];
        let goals = goals(&report([10.0; 2], &contenders));
        let missed: Vec<_> = goals.iter().filter(|goal| goal.outcome == Outcome::Missed).collect();
        assert_eq!(2, missed.len(), "{goals:?}");
        assert!(missed.iter().all(|goal| goal.text.ends_with(", random")), "{missed:?}");
    }

    /// Returns a report of two cells with one replica, in which a contender takes 100 ms and Signalbox this long.
    fn two_cells(signalbox_ms: [f64; 2], other: &str) -> Report {
        let [mut first, mut second] =
            signalbox_ms.map(|ms| report([10.0; 2], &[(SIGNALBOX, [ms; 2]), (other, [100.0; 2])]));
        second.results.iter_mut().for_each(|result| result.load_percent = 95);
        first.results.append(&mut second.results);
        first.results.iter_mut().for_each(|result| result.replicas = 1);
        first
    }

    #[test]
    fn mean_over_all_cells_must_be_less_than_each_other_contenders() {
        // The limit is at 125 ms: 1.25 · 0.8 = 1. The arithmetic mean of 1.24 and 0.8 is greater than 1.
        assert_eq!(Outcome::Missed, outcome(&two_cells([126.0, 80.0], "random"), Kind::AllCells));
        assert_eq!(Outcome::Met, outcome(&two_cells([124.0, 80.0], "random"), Kind::AllCells));
    }

    #[test]
    fn mean_over_all_cells_leaves_out_other_numbers_of_replicas() {
        let mut report = two_cells([90.0, 90.0], "random");
        let far = ContenderResult { replicas: 4, ..report.results[1].clone() };
        let fast = ContenderResult { replicas: 4, ..report.results[0].clone() };
        let slow = fast.runs.iter().map(|run| RunMetrics { ttft_mean_ms: 900.0, ..*run }).collect();
        report.results.extend([ContenderResult { runs: slow, ..fast }, far]);
        assert_eq!(Outcome::Met, outcome(&report, Kind::AllCells));
        assert_eq!(1, GoalCounts::of(&goals(&report), Kind::AllCells).all);
        report.results.iter_mut().for_each(|result| result.replicas = 4);
        assert_eq!(0, GoalCounts::of(&goals(&report), Kind::AllCells).all);
    }

    #[test]
    fn variants_are_no_other_contenders() {
        for variant in ["output_tokens=1000", "go-affinity:max_penalty_ms=500"] {
            let goals = goals(&two_cells([200.0, 200.0], variant));
            let counts = [Kind::BestOther, Kind::AllCells].map(|kind| GoalCounts::of(&goals, kind).all);
            assert_eq!([0, 0], counts, "{variant}");
        }
    }

    #[test]
    fn ratio_near_its_limit_is_uncertain_if_seeds_differ() {
        let contenders = [(SIGNALBOX, [75.0, 83.0]), (GO_CALIBRATED, [100.0; 2])];
        let goals = goals(&report([10.0; 2], &contenders));
        assert_eq!(2, GoalCounts::of(&goals, Kind::CalibratedGo).uncertain);
    }
}
