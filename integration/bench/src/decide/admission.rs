//! Times what flow control adds to a request while the pool is not full: whether it goes at once, and counting it.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use rand::SeedableRng;
use rand::rngs::SmallRng;
use serde::{Deserialize, Serialize};
use signalbox_admission::{Admission, Admitter, FlowMode, HighestWaiting, LatestSaturation, Seen};
use signalbox_flow::FlowSettings;
use signalbox_schedule::{BatchedFeedback, Decision, DecisionInputs, PickInputs, Policy};
use signalbox_state::{Arrivals, FeedbackBatcher, PeerLoad};

use super::fixture::{Fill, Fixture, Holders, OWN_ORIGIN, parse};
use super::measure::{clock_ns, percentile};
use super::{Args, SHORT_BLOCKS};

/// What a request finds in a pool that is not full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Found {
    /// The chosen endpoint has room.
    Room,
    /// The chosen endpoint is full. How full the pool is was computed lately.
    FullEndpoint,
    /// The chosen endpoint is full. How full the pool is has to be computed, which happens every 5 ms at most.
    FullEndpointAfterAWhile,
}

impl Found {
    const ALL: [Self; 3] = [Self::Room, Self::FullEndpoint, Self::FullEndpointAfterAWhile];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Room => "has room",
            Self::FullEndpoint => "is full",
            Self::FullEndpointAfterAWhile => "is full; the pool is assessed",
        }
    }
}

/// Cost of admission with one pool size.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct AdmissionCost {
    pub(super) endpoints: usize,
    pub(super) found: Found,
    /// One entry per seed.
    pub(super) runs: Vec<AdmissionRun>,
}

/// Cost of one admission: nanoseconds, without the overhead of reading the clock, and allocations.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct AdmissionRun {
    pub(super) median_ns: f64,
    pub(super) p99_ns: f64,
    pub(super) allocations: u64,
}

impl AdmissionCost {
    /// Returns the median over the seeds.
    pub(super) fn median(&self, of: impl Fn(&AdmissionRun) -> f64) -> f64 {
        percentile(self.runs.iter().map(of).collect(), 50)
    }

    /// Returns the greatest number of allocations over the seeds.
    pub(super) fn allocations(&self) -> u64 {
        self.runs.iter().map(|run| run.allocations).max().unwrap_or(0)
    }
}

/// Measures admission to pools of `endpoints` endpoints.
pub(super) fn measure_all(args: &Args, endpoints: usize) -> Vec<AdmissionCost> {
    let cost = |found| AdmissionCost { endpoints, found, runs: Vec::new() };
    let mut costs: Vec<_> = Found::ALL.map(cost).into();
    for seed in 0..args.seeds {
        let fixture = Fixture::new(seed, endpoints, SHORT_BLOCKS, Holders::Nobody, Fill::First);
        for cost in &mut costs {
            cost.runs.push(AdmissionRun::measure(&fixture, cost.found, args.decisions));
        }
    }
    costs
}

impl AdmissionRun {
    /// Times `decisions` admissions, each after the decision on the next prompt of the fixture.
    fn measure(fixture: &Fixture, found: Found, decisions: u32) -> Self {
        let (policy, gate) = (Policy::default(), Gate::default());
        let mut bodies = fixture.bodies.iter().cycle();
        let mut prepare = || {
            let body = bodies.next().expect("a fixture has prompts");
            let (inputs, decision) = decide_on(fixture, &policy, body, found);
            gate.confirm_view();
            (inputs, decision, gate.saturation(found))
        };
        let admit = |(inputs, decision, saturation): &(PickInputs, Decision, LatestSaturation)| {
            let inputs = inputs.of_decision(fixture.view());
            let admission = gate.admit(black_box(&inputs), black_box(decision), saturation);
            assert_eq!(Admission::Go, admission, "the pool is not full");
        };
        let mut once = || {
            let prepared = prepare();
            let start = Instant::now();
            admit(&prepared);
            start.elapsed().as_nanos() as f64
        };
        (0..decisions / 10).for_each(|_| {
            once();
        });
        let clock_ns = clock_ns();
        let elapsed: Vec<_> = (0..decisions).map(|_| (once() - clock_ns).max(0.0)).collect();
        let prepared = prepare();
        let allocated = allocation_counter::measure(|| admit(&prepared));
        Self {
            median_ns: percentile(elapsed.clone(), 50),
            p99_ns: percentile(elapsed, 99),
            allocations: allocated.count_total,
        }
    }
}

/// Decides on a request as the pick of a replica does. If it is to find a full endpoint, its gateway allows only that one.
fn decide_on(fixture: &Fixture, policy: &Policy, body: &[u8], found: Found) -> (PickInputs, Decision) {
    let (mut rng, mut batcher) = (SmallRng::seed_from_u64(1), FeedbackBatcher::default());
    let mut parsed = parse(body);
    parsed.request.subset = (found != Found::Room).then(|| fixture.first_endpoint());
    let pick = fixture.pick(policy);
    let mut inputs = pick.look_up(parsed.request, &parsed.chain, PeerLoad::Current);
    let mut feedback = BatchedFeedback { batcher: &mut batcher, now_ms: 0 };
    let (decision, _) = pick.choose(&mut inputs, 0, &mut rng, &mut feedback);
    (inputs, decision)
}

/// What a replica reads when it admits a request: its clocks, and what waits.
struct Gate {
    settings: FlowSettings,
    highest_waiting: HighestWaiting,
    arrivals: Arrivals,
    started: Instant,
    view_confirmed_at_ms: AtomicU64,
    uplink_lost_at_ms: AtomicU64,
}

impl Default for Gate {
    fn default() -> Self {
        let (settings, highest_waiting, arrivals, view_confirmed_at_ms) = Default::default();
        let (started, uplink_lost_at_ms) = (Instant::now(), AtomicU64::new(u64::MAX));
        Self { settings, highest_waiting, arrivals, started, view_confirmed_at_ms, uplink_lost_at_ms }
    }
}

impl Gate {
    /// Records that the owner was heard.
    fn confirm_view(&self) {
        self.view_confirmed_at_ms.store(self.now_ms(), Ordering::Relaxed);
    }

    /// Returns the saturation of the pool as it was computed last.
    fn saturation(&self, found: Found) -> LatestSaturation {
        let latest = LatestSaturation::default();
        if found == Found::FullEndpoint {
            latest.at(self.now_ms(), || 0.0);
        }
        latest
    }

    /// Does what the EPP does with each request that arrives, in the same order: it reads the clock for the owner's silence and
    /// for the age of the view, decides whether the request goes, and counts it.
    fn admit(
        &self,
        inputs: &DecisionInputs<'_>,
        decision: &Decision,
        saturation: &LatestSaturation,
    ) -> Admission {
        let admitter = self.admitter();
        let pool = || {
            let (now_ms, view_age_ms) = (self.now_ms(), self.view_age_ms());
            let (view, owner_silence_ms) = (inputs.view, view_age_ms);
            let seen = Seen { view, origin: OWN_ORIGIN, now_ms, owner_silence_ms, view_age_ms };
            saturation.at(now_ms, || seen.pool_saturation(&self.settings.detector))
        };
        let admission = admitter.admit(inputs, decision, pool);
        let request = inputs.request;
        self.arrivals.record(decision.uncached_tokens(request), request.expected_output_tokens());
        admission
    }

    fn admitter(&self) -> Admitter<'_> {
        let uplink_lost_at_ms = self.uplink_lost_at_ms.load(Ordering::Relaxed);
        let owner_silence_ms = self.view_age_ms().max(self.now_ms().saturating_sub(uplink_lost_at_ms));
        let highest_waiting = self.highest_waiting.at(owner_silence_ms);
        let (mode, settings, view_age_ms) = (FlowMode::On, &self.settings, self.view_age_ms());
        Admitter { mode, settings, highest_waiting, view_age_ms }
    }

    fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    fn view_age_ms(&self) -> u64 {
        self.now_ms().saturating_sub(self.view_confirmed_at_ms.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_go_and_would_wait_in_a_full_pool_only_if_their_endpoint_is_full() {
        let fixture = Fixture::new(1, 20, SHORT_BLOCKS, Holders::Nobody, Fill::First);
        let (policy, gate) = (Policy::default(), Gate::default());
        for found in Found::ALL {
            let (inputs, decision) = decide_on(&fixture, &policy, &fixture.bodies[0], found);
            let inputs = inputs.of_decision(fixture.view());
            gate.confirm_view();
            let admitted = gate.admit(&inputs, &decision, &gate.saturation(found));
            assert_eq!(Admission::Go, admitted, "{found:?}");
            let in_a_full_pool = gate.admitter().admit(&inputs, &decision, || 1.0);
            assert_eq!(found == Found::Room, in_a_full_pool == Admission::Go, "{found:?}");
        }
    }
}
