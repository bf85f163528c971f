//! Compares the same requests over different numbers of replicas.

use super::workloads::{RatedWorkload, RunParameters, SCENES};
use super::{goal_status, same_pod};
use crate::parallel;
use crate::policies::Visibility;
use signalbox_bench_report::Mean;

const REPLICAS: [usize; 4] = [1, 2, 4, 8];
const LOADS: [u32; 2] = [70, 95];

/// Whether replicas know each other's decisions. `Own` shows for comparison what independent replicas would
/// achieve.
const VISIBILITIES: [(Visibility, &str); 2] = [(Visibility::Pool, "yes"), (Visibility::Own, "no")];

/// Maximum loss from one replica to eight.
const GOAL_LOSS: f64 = 0.01;

/// Maximum spread of the pods' work: standard deviation ÷ mean.
const GOAL_SPREAD: f64 = 0.05;

/// Measurements of one run.
#[derive(Clone, Copy)]
struct Measurement {
    hit_rate: f64,
    same_pod: f64,
    spread: f64,
    ttft_mean_ms: f64,
}

/// The workloads of one scene at one load, with one number of replicas and one visibility.
struct Row {
    replicas: usize,
    shared_state: &'static str,
    measurements: Vec<Measurement>,
}

impl Row {
    fn column(&self, of: fn(&Measurement) -> f64) -> Vec<f64> {
        self.measurements.iter().map(of).collect()
    }

    fn mean(&self, of: fn(&Measurement) -> f64) -> Mean {
        Mean::of(self.column(of))
    }

    /// Returns the loss compared with `other`, pair by pair.
    fn lost(&self, other: &Self, of: fn(&Measurement) -> f64) -> Mean {
        Mean::of_differences(&other.column(of), &self.column(of))
    }
}

/// Runs every combination and prints a table for each scene and load.
pub(super) fn print(rated: &[RatedWorkload]) {
    for scene in SCENES {
        let rated: Vec<&RatedWorkload> = rated.iter().filter(|rated| rated.scene == scene).collect();
        for load_percent in LOADS {
            print_table(scene, load_percent, &rows(&rated, load_percent));
        }
    }
}

fn rows(rated: &[&RatedWorkload], load_percent: u32) -> Vec<Row> {
    let kinds = VISIBILITIES.iter().flat_map(|visibility| REPLICAS.map(|replicas| (*visibility, replicas)));
    // A single replica sees all requests in any case.
    let kinds: Vec<_> = kinds
        .filter(|((visibility, _), replicas)| *visibility == Visibility::Pool || *replicas > 1)
        .collect();
    let jobs: Vec<_> = kinds.iter().flat_map(|kind| rated.iter().map(|rated| (*kind, *rated))).collect();
    let measurements = parallel::map(&jobs, |(((visibility, _), replicas), rated)| {
        measure(
            rated,
            &RunParameters { load_percent, visibility: *visibility, replicas: *replicas, kills: &[] },
        )
    });
    let of_kind = kinds.iter().zip(measurements.chunks(rated.len()));
    of_kind
        .map(|(((_, shared_state), replicas), measurements)| Row {
            replicas: *replicas,
            shared_state,
            measurements: measurements.to_vec(),
        })
        .collect()
}

fn measure(rated: &RatedWorkload, run: &RunParameters<'_>) -> Measurement {
    let run_result = rated.run(run);
    let metrics = rated.metrics(&run_result);
    Measurement {
        hit_rate: metrics.hit_rate,
        same_pod: same_pod::share(&rated.workload.requests, &run_result.served),
        spread: metrics.spread,
        ttft_mean_ms: metrics.ttft_mean_ms,
    }
}

fn print_table(scene: &str, load_percent: u32, rows: &[Row]) {
    println!("\n**{}, {load_percent} % load**\n", scene);
    println!("| replicas | shared state | hit rate | lost | same pod | lost | work spread | mean TTFT |");
    println!("|---|---|---|---|---|---|---|---|");
    let one = &rows[0];
    for row in rows {
        println!(
            "| {} | {} | {:.4} | {} | {:.4} | {} | {} | {:.0} ms |",
            row.replicas,
            row.shared_state,
            row.mean(|measurement| measurement.hit_rate).mean,
            row.lost(one, |measurement| measurement.hit_rate),
            row.mean(|measurement| measurement.same_pod).mean,
            row.lost(one, |measurement| measurement.same_pod),
            row.mean(|measurement| measurement.spread),
            row.mean(|measurement| measurement.ttft_mean_ms).mean,
        );
    }
    let largest =
        rows.iter().find(|row| row.replicas == REPLICAS[3]).expect("the largest replica count is measured");
    let hit_rate = largest.lost(one, |measurement| measurement.hit_rate);
    let same_pod = largest.lost(one, |measurement| measurement.same_pod);
    println!();
    for (what, Mean { mean: lost, .. }) in [("hit rate", hit_rate), ("same pod", same_pod)] {
        println!(
            "- {what} lost from 1 to 8 replicas: {lost:.4}, goal {GOAL_LOSS}: {}",
            goal_status(lost <= GOAL_LOSS)
        );
    }
    let spread = rows.iter().filter(|row| row.shared_state == VISIBILITIES[0].1);
    let spread = spread.map(|row| row.mean(|measurement| measurement.spread).mean).fold(0.0, f64::max);
    println!(
        "- largest work spread: {spread:.3}, goal {GOAL_SPREAD}: {}",
        goal_status(spread <= GOAL_SPREAD)
    );
}
