//! Measures the effect of a kill by running the same requests with and without it.

use super::goal_status;
use super::workloads::{RatedWorkload, RunParameters, SCENES};
use crate::parallel;
use crate::policies::Visibility;
use crate::sim::{Kill, KillTarget, ServedRequest, SimRequest};
use signalbox_bench_report::Mean;

const REPLICAS: usize = 4;
const LOAD_PERCENT: u32 = 70;

/// Times of the kill, in percent of the workload's duration. Each run has one kill.
const AT_PERCENT: [u64; 10] = [20, 26, 32, 38, 44, 50, 56, 62, 68, 74];

/// Time from the kill of the owner to its successor, as measured by `cargo xtask chaos`.
const TAKEOVER_US: u64 = 2_000_000;

/// Time from the kill of a replica to its replacement.
const RESTART_US: u64 = 5_000_000;

/// Windows after the kill, in seconds.
const WINDOWS: [(u64, u64); 3] = [(0, 5), (5, 10), (10, 30)];

/// Maximum loss of hit rate in the first window. The goal for the second window is half of it.
const GOAL: f64 = 0.02;

/// Runs each workload with each kind of kill and without, and prints the differences.
pub(super) fn print(rated: &[RatedWorkload]) {
    let seconds = |(from, to): (u64, u64)| format!("{from} to {to} s");
    println!(
        "\n**A kill at {LOAD_PERCENT} % load, {REPLICAS} replicas: hit rate lost compared with the same run without the kill**\n"
    );
    println!("| | {} | |", WINDOWS.map(seconds).join(" | "));
    println!("|---|---|---|---|---|");
    for scene in SCENES {
        let rated: Vec<&RatedWorkload> = rated.iter().filter(|rated| rated.scene == scene).collect();
        for (target, restarts_after_us) in
            [(KillTarget::Replica(0), RESTART_US), (KillTarget::Owner, TAKEOVER_US)]
        {
            let lost =
                parallel::map(&rated, |rated| lost_hit_rates(rated, target, restarts_after_us)).concat();
            let windows = [0, 1, 2].map(|window| Mean::of(lost.iter().map(|lost| lost[window])));
            let is_met = windows[0].mean <= GOAL && windows[1].mean <= GOAL / 2.0;
            let target_name = match target {
                KillTarget::Replica(_) => "a replica",
                KillTarget::Owner => "the owner",
            };
            let [first, second, third] = windows.map(|mean| mean.to_string());
            println!("| {}, {target_name} | {first} | {second} | {third} | {} |", scene, goal_status(is_met));
        }
    }
    println!("\nGoal: at most {GOAL} for at most 5 s.");
}

/// Returns the lost hit rate in each window, for each time of the kill.
fn lost_hit_rates(rated: &RatedWorkload, target: KillTarget, restarts_after_us: u64) -> Vec<[f64; 3]> {
    let run = |kills: &[Kill]| {
        rated.run(&RunParameters {
            load_percent: LOAD_PERCENT,
            visibility: Visibility::Pool,
            replicas: REPLICAS,
            kills,
        })
    };
    let without = run(&[]);
    let requests = &rated.workload.requests;
    let of = |percent: u64| {
        let at_us = without.window_us * percent / 100;
        let with = run(&[Kill { at_us, target, restarts_after_us }]);
        WINDOWS.map(|(from, to)| {
            let window = (at_us + from * 1_000_000, at_us + to * 1_000_000);
            hit_rate(requests, &without.served, window) - hit_rate(requests, &with.served, window)
        })
    };
    AT_PERCENT.into_iter().map(of).collect()
}

/// Returns the share of prompt tokens arriving within a window that were found in caches.
fn hit_rate(requests: &[SimRequest], served: &[ServedRequest], (from_us, to_us): (u64, u64)) -> f64 {
    let (mut prompt, mut cached) = (0, 0);
    for (request, served) in requests.iter().zip(served) {
        if (from_us..to_us).contains(&served.arrived_us) {
            prompt += u64::from(request.prompt.tokens);
            cached += u64::from(served.cached_tokens);
        }
    }
    cached as f64 / prompt.max(1) as f64
}
