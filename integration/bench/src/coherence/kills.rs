//! What a kill costs: the same requests with it and without it.

use super::statistics::Mean;
use super::verdict;
use super::workloads::{Run, Staged};
use crate::parallel;
use crate::policy::Sight;
use crate::routing::Profile;
use crate::sim::{Blow, Coming, Served, Victim};

const REPLICAS: usize = 4;
const LOAD_PERCENT: u32 = 70;

/// The kill comes when so much of the workload has arrived, in percent; one kill a run.
const AT_PERCENT: [u64; 10] = [20, 26, 32, 38, 44, 50, 56, 62, 68, 74];

/// From the kill of an owner to its successor, as `cargo xtask chaos` measures it.
const FAILOVER_US: u64 = 2_000_000;

/// From the kill of a replica to the next one.
const RESTART_US: u64 = 5_000_000;

/// Windows after the kill, in seconds.
const WINDOWS: [(u64, u64); 3] = [(0, 5), (5, 10), (10, 30)];

/// The hit rate may be lower by so much in the first window, and by nothing to speak of afterwards.
const GOAL: f64 = 0.02;

/// Runs each workload with either kill and without, and prints the differences.
pub(super) fn print(staged: &[Staged]) {
    let seconds = |(from, to): (u64, u64)| format!("{from} to {to} s");
    println!(
        "\n**A kill at {LOAD_PERCENT} % load, {REPLICAS} replicas: hit rate lost against the same run without it**\n"
    );
    println!("| | {} | |", WINDOWS.map(seconds).join(" | "));
    println!("|---|---|---|---|---|");
    for profile in [Profile::Conversation, Profile::SharedPrefix] {
        let staged: Vec<&Staged> = staged.iter().filter(|staged| staged.profile == profile).collect();
        for (victim, back_after_us) in [(Victim::Replica(0), RESTART_US), (Victim::Owner, FAILOVER_US)] {
            let lost = parallel::map(&staged, |staged| lost(staged, victim, back_after_us)).concat();
            let windows = [0, 1, 2].map(|window| Mean::of(lost.iter().map(|lost| lost[window])));
            let is_met = windows[0].mean <= GOAL && windows[1].mean <= GOAL / 2.0;
            let who = match victim {
                Victim::Replica(_) => "a replica",
                Victim::Owner => "the owner",
            };
            let [first, second, third] = windows.map(|mean| mean.to_string());
            println!("| {}, {who} | {first} | {second} | {third} | {} |", profile.name(), verdict(is_met));
        }
    }
    println!("\nGoal: at most {GOAL} for at most 5 s.");
}

/// The hit rate that is lost in each window, for each time of the kill.
fn lost(staged: &Staged, victim: Victim, back_after_us: u64) -> Vec<[f64; 3]> {
    let run = |blows: &[Blow]| {
        staged.run(&Run { load_percent: LOAD_PERCENT, sight: Sight::Pool, replicas: REPLICAS, blows })
    };
    let without = run(&[]);
    let requests = &staged.workload.requests;
    let of = |percent: u64| {
        let at_us = without.window_us * percent / 100;
        let with = run(&[Blow { at_us, victim, back_after_us }]);
        WINDOWS.map(|(from, to)| {
            let window = (at_us + from * 1_000_000, at_us + to * 1_000_000);
            hit_rate(requests, &without.served, window) - hit_rate(requests, &with.served, window)
        })
    };
    AT_PERCENT.into_iter().map(of).collect()
}

/// Share of the prompt tokens that came within a window which were found in caches.
fn hit_rate(requests: &[Coming], served: &[Served], (from_us, to_us): (u64, u64)) -> f64 {
    let (mut prompt, mut cached) = (0, 0);
    for (coming, served) in requests.iter().zip(served) {
        if (from_us..to_us).contains(&served.at_us) {
            prompt += u64::from(coming.prompt.tokens);
            cached += u64::from(served.cached_tokens);
        }
    }
    cached as f64 / prompt.max(1) as f64
}
