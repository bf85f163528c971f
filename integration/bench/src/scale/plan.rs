//! The clairvoyant bound: a plan of replicas that is made with all requests known in advance.

use super::profiles::Profile;
use super::request::Request;
use super::scene::{LEAST, MOST, Scene};

/// The seconds over which the work is averaged: that of shorter peaks waits for a moment.
const BIN_S: usize = 10;

/// How early pods are there, in seconds.
const EARLY_S: usize = 15;

/// How much pods may be used, in steps that are tried from the highest on.
const STEPS: std::ops::RangeInclusive<u32> = 12..=23;
const STEP: f64 = 0.05;

/// The replicas that a Deployment has, for each second.
#[derive(Clone, Debug)]
pub(super) struct Plan(Vec<u32>);

impl Plan {
    /// Returns plans with ever more replicas.
    pub(super) fn candidates(scene: &Scene<'_>) -> impl Iterator<Item = Self> {
        let work = work(scene.profile, scene.requests, scene.pod_per_second);
        STEPS.rev().map(move |step| Self::new(&work, f64::from(step) * STEP, scene.startup_s))
    }

    fn new(work: &[f64], used: f64, startup_s: f64) -> Self {
        let needed: Vec<u32> =
            work.iter().map(|work| ((work / used).ceil() as u32).clamp(LEAST, MOST)).collect();
        // What is asked for now is there after the start-up.
        let ahead = EARLY_S + (startup_s * 1.15).ceil() as usize;
        let most = |at: usize| {
            let from = at.saturating_sub(BIN_S);
            needed[from..needed.len().min(at + ahead)].iter().copied().max().unwrap_or(LEAST)
        };
        Self((0..needed.len()).map(most).collect())
    }

    /// Returns the replicas at a second.
    pub(super) fn at(&self, second: u64) -> u32 {
        self.0.get(second as usize).or(self.0.last()).copied().unwrap_or(LEAST)
    }
}

/// Returns how many pods the requests keep busy around each second.
fn work(profile: &Profile, requests: &[Request], pod_per_second: f64) -> Vec<f64> {
    // Prompts are nearly all of the work.
    let tokens: f64 = requests.iter().map(|request| f64::from(request.prompt_tokens)).sum();
    let pod_tokens = pod_per_second * tokens / requests.len().max(1) as f64;
    let mut bins = vec![0.0; (profile.seconds as usize).div_ceil(BIN_S)];
    for request in requests {
        bins[request.at_s as usize / BIN_S] += f64::from(request.prompt_tokens) / (pod_tokens * BIN_S as f64);
    }
    (0..profile.seconds as usize).map(|second| bins[second / BIN_S]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_are_asked_for_a_start_up_ahead_and_go_when_they_are_not_needed() {
        let work: Vec<f64> = (0..1_000).map(|at| if (400..600).contains(&at) { 7.5 } else { 3.0 }).collect();
        let plan = Plan::new(&work, 0.75, 100.0);
        assert_eq!([4, 10, 10, 10, 4], [269, 271, 400, 609, 611].map(|at| plan.at(at)));
    }
}
