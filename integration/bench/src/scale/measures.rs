//! What is measured of a run.

use serde::{Deserialize, Serialize};
use signalbox_bench_report::mean;

use super::scene::Scene;
use super::scrapes::TTFT_GOAL_S;

/// What happened in a run.
#[derive(Debug)]
pub(super) struct Trace {
    /// The time to the first token of each request, in seconds; infinite if it got none.
    pub(super) ttft_s: Vec<f64>,
    /// The replicas after each second.
    pub(super) replicas: Vec<u32>,
}

/// The measures of a run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Measures {
    /// The part of the requests whose first token came within the goal, in percent.
    pub(super) attained_percent: f64,
    /// Hours of all pods together, from when they were asked for until they had finished.
    pub(super) replica_hours: f64,
    /// The most replicas.
    pub(super) peak: u32,
    /// How often per hour the number of replicas went the other way than before.
    pub(super) reversals_per_hour: f64,
    /// After a step: the most replicas relative to those at the end of the plateau, less 1, in percent.
    pub(super) overshoot_percent: Option<f64>,
}

/// How long the beginning is in which reversals do not count, in seconds: autoscalers find their level then.
const SETTLING_S: usize = 900;

/// The part at the end of a plateau in which replicas are settled, in seconds.
const SETTLED_S: f64 = 600.0;

impl Trace {
    pub(super) fn new(requests: usize) -> Self {
        Self { ttft_s: vec![f64::INFINITY; requests], replicas: Vec::new() }
    }
}

impl Measures {
    pub(super) fn of(scene: &Scene<'_>, trace: &Trace, replica_s: f64) -> Self {
        let attained = trace.ttft_s.iter().filter(|ttft_s| **ttft_s <= TTFT_GOAL_S).count();
        let rounded = |value: f64| (value * 1e4).round() / 1e4;
        let settled = &trace.replicas[SETTLING_S.min(trace.replicas.len())..];
        let hours = settled.len() as f64 / 3_600.0;
        Self {
            attained_percent: rounded(attained as f64 * 100.0 / trace.ttft_s.len().max(1) as f64),
            replica_hours: rounded(replica_s / 3_600.0),
            peak: trace.replicas.iter().copied().max().unwrap_or(0),
            reversals_per_hour: rounded(reversals(settled) as f64 / hours),
            overshoot_percent: scene
                .profile
                .plateau_s
                .map(|plateau_s| rounded(overshoot(&trace.replicas, plateau_s) * 100.0)),
        }
    }
}

/// Counts how often a number goes the other way than before.
fn reversals(replicas: &[u32]) -> usize {
    let changes = replicas.windows(2).filter(|pair| pair[0] != pair[1]).map(|pair| pair[1] > pair[0]);
    let directions: Vec<bool> = changes.collect();
    directions.windows(2).filter(|pair| pair[0] != pair[1]).count()
}

/// Returns by which part the highest number on a plateau exceeds the settled one.
fn overshoot(replicas: &[u32], (from_s, to_s): (f64, f64)) -> f64 {
    let (from, to) = (from_s as usize, to_s as usize);
    let most = replicas[from..to].iter().copied().max().unwrap_or(0);
    let settled = &replicas[(to_s - SETTLED_S) as usize..to];
    let settled = mean(settled.iter().map(|count| f64::from(*count))).unwrap_or(0.0);
    f64::from(most) / settled.max(1.0) - 1.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reversals_are_changes_of_direction() {
        assert_eq!(0, reversals(&[3, 3, 4, 4, 6]));
        assert_eq!(1, reversals(&[3, 4, 4, 3, 2]));
        assert_eq!(3, reversals(&[3, 4, 3, 3, 4, 3]));
    }

    #[test]
    fn overshoot_is_relative_to_the_end_of_the_plateau() {
        let replicas: Vec<u32> = (0..3_000).map(|at| if at < 1_000 { 12 } else { 10 }).collect();
        assert!((overshoot(&replicas, (500.0, 3_000.0)) - 0.2).abs() < 1e-9);
        assert_eq!(0.0, overshoot(&replicas, (1_500.0, 3_000.0)));
    }
}
