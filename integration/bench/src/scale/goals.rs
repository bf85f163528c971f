//! The goals, and in how many cells each is met.

use std::fmt::Write;

use signalbox_bench_report::Table;

use super::recipes::Recipe;
use super::report::{Cell, Contender, Report, Total};

/// As much attainment with this part of the hours, or so many points more with the same hours.
const HOURS_LIMIT: f64 = 0.9;
const MORE_POINTS: f64 = 5.0;

/// On a steady load: changes of direction per hour.
const REVERSALS_LIMIT: f64 = 1.0;
/// After a step, in percent.
const OVERSHOOT_LIMIT: f64 = 10.0;
/// With 8 instead of 1 EPP replica: the difference of the attainment in points, and of the hours in percent.
const REPLICAS_POINTS: f64 = 0.5;
const REPLICAS_PERCENT: f64 = 2.0;

/// A goal in one cell.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Goal {
    /// What it is, alike for all cells.
    pub(super) name: String,
    /// The cell, and its figures.
    pub(super) cell: String,
    pub(super) is_met: bool,
}

/// Returns all goals in all cells.
pub(super) fn all(report: &Report) -> Vec<Goal> {
    let mut goals = Vec::new();
    for startup_s in report.startups_s() {
        let Some(ours) = report.total(startup_s, &Contender::Signal { replicas: 1 }) else { continue };
        let frontiers = Recipe::ALL.into_iter().filter_map(|recipe| Frontier::of(report, startup_s, recipe));
        goals.extend(frontiers.map(|frontier| frontier.goal(ours, &format!("{startup_s} s"))));
    }
    for scene in report.scenes() {
        let of = |replicas| report.cell(scene, &Contender::Signal { replicas });
        if let (Some(one), Some(eight)) = (of(1), of(8)) {
            goals.extend(of_signal(scene, one, eight));
        }
    }
    goals
}

/// Returns the goals of the signal in one scene, with one and with eight EPP replicas.
fn of_signal((profile, startup_s): (&str, u32), one: &Cell, eight: &Cell) -> Vec<Goal> {
    let cell = format!("{profile}, {startup_s} s");
    let (points, hours) = (eight.attained() - one.attained(), eight.hours() / one.hours() - 1.0);
    let mut goals = vec![Goal {
        name: "the same with 1 and with 8 EPP replicas".to_owned(),
        cell: format!("{cell}: {points:+.2} points, {:+.1} % hours", hours * 100.0),
        is_met: points.abs() <= REPLICAS_POINTS && hours.abs() * 100.0 <= REPLICAS_PERCENT,
    }];
    if profile == "steady" {
        let reversals = one.runs.iter().chain(&eight.runs).map(|of| of.reversals_per_hour);
        let most = reversals.fold(0.0, f64::max);
        goals.push(Goal {
            name: "at most one reversal per hour on steady load".to_owned(),
            cell: format!("{cell}: {most:.1}"),
            is_met: most <= REVERSALS_LIMIT,
        });
    }
    goals.extend([one, eight].into_iter().filter_map(Cell::overshoot).map(|percent| Goal {
        name: format!("overshoot at most {OVERSHOOT_LIMIT} %"),
        cell: format!("{cell}: {percent:.1} %"),
        is_met: percent <= OVERSHOOT_LIMIT,
    }));
    goals
}

/// What a recipe attains with which hours over all profiles, for different thresholds.
struct Frontier {
    recipe: Recipe,
    /// With the thresholds of the guide.
    guide: Total,
    /// With all thresholds, by hours.
    points: Vec<Total>,
}

impl Frontier {
    fn of(report: &Report, startup_s: u32, recipe: Recipe) -> Option<Self> {
        let total =
            |percent| report.total(startup_s, &Contender::Recipe { name: recipe.name().to_owned(), percent });
        let factors = recipe.factors_percent().iter();
        let mut points: Vec<Total> = factors.filter_map(|percent| total(*percent)).collect();
        points.sort_by(|one, other| one.hours.total_cmp(&other.hours));
        Some(Self { recipe, guide: total(100)?, points })
    }

    /// Returns what the recipe attains at best with at most these hours, with thresholds between those that were run; `None`
    /// if it does not use so few or so many hours with any of them.
    fn attained_with(&self, hours: f64) -> Option<f64> {
        let within = self.points.iter().filter(|of| of.hours <= hours).map(|of| of.attained);
        let between = self.points.windows(2).filter_map(|pair| {
            let [from, to] = [pair[0], pair[1]];
            let part = (hours - from.hours) / (to.hours - from.hours);
            (0.0..1.0).contains(&part).then_some(from.attained + (to.attained - from.attained) * part)
        });
        self.points.last().filter(|most| most.hours >= hours)?;
        within.chain(between).reduce(f64::max)
    }

    fn goal(&self, Total { attained, hours }: Total, cell: &str) -> Goal {
        let guide = self.guide;
        let is_cheaper = attained >= guide.attained && hours <= guide.hours * HOURS_LIMIT;
        let equal = self.attained_with(hours);
        // With a ninth more hours than ours, we save a tenth.
        let more = self.attained_with(hours / HOURS_LIMIT);
        let is_cheaper_than_tuned = more.is_some_and(|more| attained >= more);
        let is_better = equal.is_some_and(|equal| attained >= equal + MORE_POINTS);
        let figure = |of: Option<f64>| of.map_or_else(|| "–".to_owned(), |of| format!("{of:.2} %"));
        Goal {
            name: format!(
                "≥ {:.0} % fewer hours or ≥ {MORE_POINTS} points more than {}",
                (1.0 - HOURS_LIMIT) * 100.0,
                self.recipe.name()
            ),
            cell: format!(
                "{cell}: {attained:.2} % with {hours:.1} h; the recipe {:.2} % with {:.1} h, tuned to our hours {}, \
                 to a ninth more {}",
                guide.attained,
                guide.hours,
                figure(equal),
                figure(more),
            ),
            is_met: is_cheaper || is_cheaper_than_tuned || is_better,
        }
    }
}

/// Returns the goals in the order of their first cells.
fn by_name(goals: &[Goal]) -> Vec<(&str, Vec<&Goal>)> {
    let mut names: Vec<(&str, Vec<&Goal>)> = Vec::new();
    for goal in goals {
        match names.iter_mut().find(|(name, _)| *name == goal.name) {
            Some((_, of)) => of.push(goal),
            None => names.push((&goal.name, vec![goal])),
        }
    }
    names
}

/// Returns the goals as lines, with the cells in which they are missed.
pub(super) fn text(goals: &[Goal]) -> String {
    by_name(goals).into_iter().fold(String::new(), |mut text, (name, of)| {
        let met = of.iter().filter(|goal| goal.is_met).count();
        let status = if met == of.len() { "met   " } else { "MISSED" };
        let _ = writeln!(text, "  {status} {name}: in {met} of {} cells", of.len());
        for goal in of.into_iter().filter(|goal| !goal.is_met) {
            let _ = writeln!(text, "         {}", goal.cell);
        }
        text
    })
}

/// Returns the goals as a table.
pub(super) fn table(goals: &[Goal]) -> String {
    let mut table = Table::new(&["goal", "met in", "missed in"]);
    for (name, of) in by_name(goals) {
        let missed: Vec<_> = of.iter().filter(|goal| !goal.is_met).map(|goal| goal.cell.clone()).collect();
        let met = format!("{} of {}", of.len() - missed.len(), of.len());
        table.row(&[name.to_owned(), met, missed.join("<br>")]);
    }
    table.into_text()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn total((hours, attained): (f64, f64)) -> Total {
        Total { attained, hours }
    }

    fn is_met(attained: f64, hours: f64) -> bool {
        let points = [(10.0, 60.0), (20.0, 80.0), (30.0, 90.0)].map(total);
        let frontier = Frontier { recipe: Recipe::Queue, guide: points[1], points: points.to_vec() };
        frontier.goal(total((hours, attained)), "").is_met
    }

    #[test]
    fn a_tenth_of_the_hours_or_five_points_count() {
        assert!(is_met(80.0, 18.0) && !is_met(79.0, 18.1), "as much as the guide with a tenth less");
        assert!(is_met(85.1, 20.0) && !is_met(79.9, 20.0), "five points more with the same hours");
        assert!(is_met(90.0, 27.0) && !is_met(89.0, 27.0), "as much as with higher thresholds");
        assert!(!is_met(99.0, 31.0), "hours that the recipe never uses are not comparable");
    }
}
