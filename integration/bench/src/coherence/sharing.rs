//! What becomes of the same requests when they come in through more replicas.

use super::statistics::Mean;
use super::workloads::{Run, Staged};
use super::{same_pod, verdict};
use crate::parallel;
use crate::policy::Sight;
use crate::routing::Profile;

const REPLICAS: [usize; 4] = [1, 2, 4, 8];
const LOADS: [u32; 2] = [70, 95];

/// What a replica knows of the others' decisions. What a process of its own would know is there for comparison.
const SIGHTS: [(Sight, &str); 2] = [(Sight::Pool, "all"), (Sight::Own, "its own")];

/// A loss from one replica to eight up to this is none to speak of.
const GOAL_LOSS: f64 = 0.01;

/// The pods' work may spread so far: standard deviation ÷ mean.
const GOAL_SPREAD: f64 = 0.05;

/// What is measured of one run.
#[derive(Clone, Copy)]
struct Point {
    hit_rate: f64,
    same_pod: f64,
    spread: f64,
    ttft_mean_ms: f64,
}

/// The same workloads of one profile at one load through so many replicas, which see so much.
struct Row {
    replicas: usize,
    sees: &'static str,
    points: Vec<Point>,
}

impl Row {
    fn column(&self, of: fn(&Point) -> f64) -> Vec<f64> {
        self.points.iter().map(of).collect()
    }

    fn mean(&self, of: fn(&Point) -> f64) -> Mean {
        Mean::of(self.column(of))
    }

    /// What is lost against `other`, pair by pair.
    fn lost(&self, other: &Self, of: fn(&Point) -> f64) -> Mean {
        Mean::of_differences(&other.column(of), &self.column(of))
    }
}

/// Runs every combination and prints a table for each profile and load.
pub(super) fn print(staged: &[Staged]) {
    for profile in [Profile::Conversation, Profile::SharedPrefix] {
        let staged: Vec<&Staged> = staged.iter().filter(|staged| staged.profile == profile).collect();
        for load_percent in LOADS {
            print_table(profile, load_percent, &rows(&staged, load_percent));
        }
    }
}

fn rows(staged: &[&Staged], load_percent: u32) -> Vec<Row> {
    let kinds = SIGHTS.iter().flat_map(|sight| REPLICAS.map(|replicas| (*sight, replicas)));
    // One that is alone sees all.
    let kinds: Vec<_> =
        kinds.filter(|((sight, _), replicas)| *sight == Sight::Pool || *replicas > 1).collect();
    let jobs: Vec<_> = kinds.iter().flat_map(|kind| staged.iter().map(|staged| (*kind, *staged))).collect();
    let points = parallel::map(&jobs, |(((sight, _), replicas), staged)| {
        measure(staged, &Run { load_percent, sight: *sight, replicas: *replicas, blows: &[] })
    });
    let of_kind = kinds.iter().zip(points.chunks(staged.len()));
    of_kind
        .map(|(((_, sees), replicas), points)| Row { replicas: *replicas, sees, points: points.to_vec() })
        .collect()
}

fn measure(staged: &Staged, run: &Run<'_>) -> Point {
    let ran = staged.run(run);
    let figures = staged.figures(&ran);
    Point {
        hit_rate: figures.hit_rate,
        same_pod: same_pod::share(&staged.workload.requests, &ran.served),
        spread: figures.spread,
        ttft_mean_ms: figures.ttft_mean_ms,
    }
}

fn print_table(profile: Profile, load_percent: u32, rows: &[Row]) {
    println!("\n**{}, {load_percent} % load**\n", profile.name());
    println!("| replicas | each sees | hit rate | lost | same pod | lost | spread of work | mean TTFT |");
    println!("|---|---|---|---|---|---|---|---|");
    let one = &rows[0];
    for row in rows {
        println!(
            "| {} | {} | {:.4} | {} | {:.4} | {} | {} | {:.0} ms |",
            row.replicas,
            row.sees,
            row.mean(|point| point.hit_rate).mean,
            row.lost(one, |point| point.hit_rate),
            row.mean(|point| point.same_pod).mean,
            row.lost(one, |point| point.same_pod),
            row.mean(|point| point.spread),
            row.mean(|point| point.ttft_mean_ms).mean,
        );
    }
    let eight = rows.iter().find(|row| row.replicas == REPLICAS[3]).expect("eight are among them");
    let hit_rate = eight.lost(one, |point| point.hit_rate);
    let same_pod = eight.lost(one, |point| point.same_pod);
    println!();
    for (what, Mean { mean: lost, .. }) in [("hit rate", hit_rate), ("same pod", same_pod)] {
        println!("- {what} lost from 1 to 8: {lost:.4}, goal {GOAL_LOSS}: {}", verdict(lost <= GOAL_LOSS));
    }
    let spread = rows.iter().filter(|row| row.sees == SIGHTS[0].1);
    let spread = spread.map(|row| row.mean(|point| point.spread).mean).fold(0.0, f64::max);
    println!(
        "- spread of work, at most: {spread:.3}, goal {GOAL_SPREAD}: {}",
        verdict(spread <= GOAL_SPREAD)
    );
}
