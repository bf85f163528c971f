//! What is measured of one run.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use signalbox_bench_report::mean;

use super::scenes::{CRITICAL, Scene, TENANTS, TIERS, tenant_of};
use super::traffic::{SECONDS, Sent, tokens};
use crate::sim::{RunResult, ServedRequest, SimRequest};

/// Requests that arrive before this time are left out: the queues fill up.
const WARM_UP_S: f64 = 5.0;

/// Shares are compared while a tier has a queue, if that is at least this long: before, the pods' KV caches fill up, and each tenant
/// gets what it asks for. A queue that is empty for a shorter time than the second value goes on.
const COMPARED_S: f64 = 20.0;
const BREAK_S: f64 = 1.0;

/// The time within which it does not matter who waited first, in seconds.
const STEP_S: f64 = 0.5;

/// A tier is short of capacity if it gets less than this share of the tokens that it asks for.
const SHORT: f64 = 0.95;

/// What is measured of one run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Metrics {
    /// Of critical requests, the time to the first token, 99th percentile, and the mean over all requests, in milliseconds.
    pub(super) critical_ttft_p99_ms: f64,
    pub(super) ttft_mean_ms: f64,
    /// Tokens served per second, of all tiers and of each, the highest first.
    pub(super) tokens_per_second: f64,
    pub(super) tier_tokens_per_second: Vec<f64>,
    /// The share of requests that waited in a picker.
    pub(super) waited: f64,
    pub(super) dropped: usize,
    pub(super) longest_idle_ms: f64,
    /// Jain's index of what the tenants of the tier that is short of capacity got, relative to their fair shares; and the greatest
    /// difference of one from its fair share, in percent. `None` if no tier that gets anything is short.
    pub(super) jain: Option<f64>,
    pub(super) off_percent: Option<f64>,
}

impl Metrics {
    /// Measures a run.
    pub(super) fn of(scene: &Scene, sent: &Sent, run: &RunResult) -> Self {
        let requests = || sent.requests.iter().zip(&sent.senders).zip(&run.served).zip(&run.flow.waited_us);
        let counted = || requests().filter(|(((request, _), _), _)| request.at_us as f64 >= WARM_UP_S * 1e6);
        let started = |served: &ServedRequest| served.ttft_us > 0;
        let ttft_ms = |critical: bool| -> Vec<f64> {
            let of = counted().filter(|(((_, sender), served), _)| {
                started(served) && (!critical || sender.priority == CRITICAL)
            });
            of.map(|(((_, _), served), _)| served.ttft_us as f64 / 1e3).collect()
        };
        let all_ms = ttft_ms(false);
        let window_s = WARM_UP_S..SECONDS;
        let tier_tokens_per_second = TIERS.iter().map(|(priority, _)| {
            let of_tier = requests().filter(|(((_, sender), _), _)| sender.priority == *priority);
            let served =
                of_tier.map(|(((request, _), served), _)| tokens_in_window(request, served, &window_s));
            served.sum::<f64>() / (window_s.end - window_s.start)
        });
        let tier_tokens_per_second: Vec<_> = tier_tokens_per_second.collect();
        let fair = TIERS.iter().find_map(|(priority, _)| {
            let window_s = queue_s(*priority, sent, run)?;
            Shares::of((*priority, &window_s), scene, sent, run).relative()
        });
        Self {
            critical_ttft_p99_ms: percentile(ttft_ms(true), 0.99),
            ttft_mean_ms: mean(all_ms).unwrap_or(0.0),
            tokens_per_second: tier_tokens_per_second.iter().sum(),
            tier_tokens_per_second,
            waited: counted().filter(|(_, waited_us)| waited_us.is_none_or(|us| us > 0)).count() as f64
                / counted().count().max(1) as f64,
            dropped: run.flow.dropped,
            longest_idle_ms: run.flow.longest_idle_us as f64 / 1e3,
            jain: fair.as_deref().map(jain),
            off_percent: fair.as_deref().map(largest_difference_percent),
        }
    }
}

/// Returns the greatest difference of a tenant from its fair share within `window_s`, in percent, in the highest tier that is
/// short of capacity.
pub(super) fn largest_unfairness_percent(
    scene: &Scene,
    sent: &Sent,
    run: &RunResult,
    window_s: Range<f64>,
) -> Option<f64> {
    let relative =
        |(priority, _): &(i32, f64)| Shares::of((*priority, &window_s), scene, sent, run).relative();
    TIERS.iter().find_map(relative).as_deref().map(largest_difference_percent)
}

fn largest_difference_percent(ratios: &[f64]) -> f64 {
    ratios.iter().map(|ratio| (ratio - 1.0).abs() * 100.0).fold(0.0, f64::max)
}

/// What the tenants of a tier asked for and got within a time, in tokens of requests that went to an endpoint. What an endpoint
/// makes of them later is not the picker's share.
struct Shares {
    asked: f64,
    got: [f64; TENANTS],
    /// What each would have got if the capacity of each moment had been shared out by weight among those who waited then: what
    /// a tenant did not ask for at that time, it cannot get later.
    fair: [f64; TENANTS],
}

impl Shares {
    fn of((priority, window_s): (i32, &Range<f64>), scene: &Scene, sent: &Sent, run: &RunResult) -> Self {
        let steps = ((window_s.end - window_s.start) / STEP_S).ceil() as usize;
        let (mut arrived, mut gone) = (vec![[0.0; TENANTS]; steps], vec![0.0; steps]);
        let mut shares = Self { asked: 0.0, got: [0.0; TENANTS], fair: [0.0; TENANTS] };
        let requests = sent.requests.iter().zip(&sent.senders).zip(&run.flow.waited_us);
        for ((request, sender), waited_us) in requests {
            let tenant = tenant_of(&sender.tenant).filter(|_| sender.priority == priority);
            let steps = steps_of(request.at_us, *waited_us, window_s);
            let Some((tenant, (asks_at, goes_at))) = tenant.zip(steps) else { continue };
            arrived[asks_at][tenant] += tokens(request);
            shares.asked += tokens(request);
            if let Some(at) = goes_at {
                gone[at] += tokens(request);
                shares.got[tenant] += tokens(request);
            }
        }
        shares.fair = shared_out(&arrived, &gone, &scene.weights);
        shares
    }

    /// Returns what each tenant got, relative to its fair share; `None` if the tier is not short of capacity, or gets next to
    /// nothing.
    fn relative(&self) -> Option<Vec<f64>> {
        let got = self.got.iter().sum::<f64>();
        if got <= 0.1 * self.asked || got >= SHORT * self.asked {
            return None;
        }
        Some(self.got.iter().zip(self.fair).map(|(got, share)| got / share.max(1.0)).collect())
    }
}

/// Returns the step of a time in which a request asks for its tokens, the first one if it arrived earlier, and the one in which
/// it goes, if it goes within that time; `None` if it goes before or comes later.
fn steps_of(at_us: u64, waited_us: Option<u64>, window_s: &Range<f64>) -> Option<(usize, Option<usize>)> {
    let at_s = at_us as f64 / 1e6;
    let gone_s = waited_us.map_or(f64::INFINITY, |us| at_s + us as f64 / 1e6);
    let step = |at_s: f64| ((at_s - window_s.start) / STEP_S).max(0.0) as usize;
    let is_within = at_s < window_s.end && gone_s >= window_s.start;
    is_within.then(|| (step(at_s), (gone_s < window_s.end).then(|| step(gone_s))))
}

/// Shares what went in each step out among those who had asked for it until then, by weight.
fn shared_out(arrived: &[[f64; TENANTS]], gone: &[f64], weights: &[u32]) -> [f64; TENANTS] {
    let (mut waiting, mut fair) = ([0.0; TENANTS], [0.0; TENANTS]);
    for (arrived, gone) in arrived.iter().zip(gone) {
        waiting.iter_mut().zip(arrived).for_each(|(waiting, arrived)| *waiting += arrived);
        let all = gone.min(waiting.iter().sum());
        for (at, share) in fair_shares(&waiting, weights, all).into_iter().enumerate() {
            waiting[at] = (waiting[at] - share).max(0.0);
            fair[at] += share;
        }
    }
    fair
}

/// Returns the time from which on requests of a tier wait in the picker to the end of the run, if it is long enough to compare
/// shares.
fn queue_s(priority: i32, sent: &Sent, run: &RunResult) -> Option<Range<f64>> {
    let requests = sent.requests.iter().zip(&sent.senders).zip(&run.flow.waited_us);
    let waiting = requests
        .filter(|((_, sender), waited_us)| sender.priority == priority && **waited_us != Some(0))
        .map(|((request, _), waited_us)| {
            let at_s = request.at_us as f64 / 1e6;
            at_s..waited_us.map_or(SECONDS, |us| at_s + us as f64 / 1e6)
        });
    let queue_s = last_queue_s(waiting);
    let window_s = queue_s.start.max(WARM_UP_S)..SECONDS;
    let lasts = queue_s.end + BREAK_S >= SECONDS && window_s.end - window_s.start >= COMPARED_S;
    lasts.then_some(window_s)
}

/// Returns the last time in which one of these waited without a longer break. They are in the order of their starts.
fn last_queue_s(waits_s: impl Iterator<Item = Range<f64>>) -> Range<f64> {
    waits_s.fold(0.0..0.0, |queue_s, wait_s| match wait_s.start > queue_s.end + BREAK_S {
        true => wait_s,
        false => queue_s.start..queue_s.end.max(wait_s.end),
    })
}

/// Returns the tokens of a request that were served within a time: the prompt with the first token, and the output
/// evenly from there to the end.
fn tokens_in_window(request: &SimRequest, served: &ServedRequest, window_s: &Range<f64>) -> f64 {
    if served.ttft_us == 0 {
        return 0.0;
    }
    let first_s = (served.arrived_us + served.ttft_us) as f64 / 1e6;
    let output = f64::from(request.output_tokens);
    let prompt = if window_s.contains(&first_s) { tokens(request) - output } else { 0.0 };
    if served.e2e_us == 0 {
        return prompt;
    }
    let end_s = (served.arrived_us + served.e2e_us) as f64 / 1e6;
    let within_s = (end_s.min(window_s.end) - first_s.max(window_s.start)).max(0.0);
    prompt + output * within_s / (end_s - first_s).max(1e-6)
}

/// Shares `all` out by weight among those who ask: nobody gets more than it asks for, and what one leaves goes to the others.
fn fair_shares(asked: &[f64], weights: &[u32], all: f64) -> Vec<f64> {
    let (mut shares, mut left) = (vec![0.0; asked.len()], all);
    let mut open: Vec<usize> = (0..asked.len()).collect();
    while !open.is_empty() {
        let weight: f64 = open.iter().map(|at| f64::from(weights[*at])).sum();
        let per_weight = left / weight;
        let (full, rest): (Vec<_>, Vec<_>) =
            open.iter().partition(|at| asked[**at] <= per_weight * f64::from(weights[**at]));
        if full.is_empty() {
            rest.iter().for_each(|at: &usize| shares[*at] = per_weight * f64::from(weights[*at]));
            break;
        }
        for at in full {
            shares[at] = asked[at];
            left -= asked[at];
        }
        open = rest;
    }
    shares
}

/// Returns Jain's index of fairness: 1 if all are equal, 1 ÷ their number if one has everything.
fn jain(of: &[f64]) -> f64 {
    let (sum, squares) = of.iter().fold((0.0, 0.0), |(sum, squares), x| (sum + x, squares + x * x));
    if squares > 0.0 { sum * sum / (squares * of.len() as f64) } else { 1.0 }
}

fn percentile(mut of: Vec<f64>, share: f64) -> f64 {
    of.sort_by(f64::total_cmp);
    of.get(((of.len() as f64 * share) as usize).min(of.len().saturating_sub(1))).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_leaves_goes_to_the_others_by_weight() {
        assert_eq!(vec![10.0, 30.0, 60.0], fair_shares(&[10.0, 90.0, 90.0], &[1, 1, 2], 100.0));
        assert_eq!(vec![10.0, 20.0], fair_shares(&[10.0, 20.0], &[1, 1], 100.0));
    }

    #[test]
    fn index_of_fairness_is_one_for_equals() {
        assert_eq!((1.0, 0.25), (jain(&[2.0; 4]), jain(&[0.0, 0.0, 3.0, 0.0])));
    }

    /// Otherwise a tenant that sends nothing for a moment would have no share of what goes meanwhile.
    #[test]
    fn request_that_arrived_earlier_and_still_waits_asks_for_its_tokens() {
        let steps = |at_us, waited_us| steps_of(at_us, waited_us, &(2.0..3.0));
        assert_eq!(Some((0, None)), steps(1_000_000, None), "it still waits");
        assert_eq!(Some((0, Some(1))), steps(1_000_000, Some(1_500_000)), "it goes in the window");
        assert_eq!(Some((1, None)), steps(2_700_000, Some(400_000)), "it goes after the window");
        assert_eq!(None, steps(1_000_000, Some(500_000)), "it went before");
        assert_eq!(None, steps(3_000_000, None), "it comes later");
    }

    /// What a tenant gets while it alone waits is not taken from those who ask later.
    #[test]
    fn capacity_is_shared_out_among_those_who_wait_at_that_time() {
        let of = |first: f64, second: f64| {
            let mut all = [0.0; TENANTS];
            (all[0], all[1]) = (first, second);
            all
        };
        let equal = [1; TENANTS];
        assert_eq!(of(50.0, 40.0), shared_out(&[of(10.0, 0.0), of(90.0, 90.0)], &[10.0, 80.0], &equal));
        assert_eq!(of(20.0, 60.0), shared_out(&[of(90.0, 90.0)], &[80.0], &[1, 3, 1, 1, 1, 1, 1, 1]));
    }

    #[test]
    fn queue_begins_after_its_last_break() {
        assert_eq!(0.0..0.0, last_queue_s([].into_iter()));
        let waits_s = [1.0..2.0, 1.5..1.7, 4.0..9.0, 5.0..6.0, 9.5..11.0];
        assert_eq!(4.0..11.0, last_queue_s(waits_s.into_iter()));
    }

    #[test]
    fn percentile_is_of_the_sorted_values() {
        assert_eq!(99.0, percentile((0..100).rev().map(f64::from).collect(), 0.99));
    }
}
