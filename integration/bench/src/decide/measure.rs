//! Times decisions and counts their allocations.

use std::hint::black_box;
use std::time::Instant;

use rand::SeedableRng;
use rand::rngs::SmallRng;
use serde::{Deserialize, Serialize};
use signalbox_schedule::{BatchedFeedback, Decision, Policy};
use signalbox_state::{FeedbackBatcher, PeerLoad};
use signalbox_types::{BlockHash, Request};

use super::fixture::{Fixture, parse};

/// Cost of one request: nanoseconds, without the overhead of reading the clock, and allocations.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct RunCost {
    /// Parsing the body and hashing the prompt.
    pub(super) parse_median_ns: f64,
    pub(super) lookup_median_ns: f64,
    pub(super) choice_median_ns: f64,
    /// Lookup and choice together.
    pub(super) decision_median_ns: f64,
    pub(super) decision_p99_ns: f64,
    /// Everything together.
    pub(super) total_median_ns: f64,
    /// Allocations of lookup and choice.
    pub(super) allocations: u64,
    pub(super) allocated_bytes: u64,
}

impl RunCost {
    /// Times `decisions` decisions, each for the next prompt of the fixture.
    pub(super) fn measure(fixture: &Fixture, policy: &Policy, decisions: u32) -> Self {
        let (mut rng, mut batcher) = (SmallRng::seed_from_u64(1), FeedbackBatcher::default());
        let mut bodies = fixture.bodies.iter().cycle();
        let mut once = || {
            let body = bodies.next().expect("a fixture has prompts");
            let start = Instant::now();
            let parsed = black_box(parse(black_box(body)));
            let parsed_at = Instant::now();
            let request = (parsed.request, &parsed.chain[..]);
            let (looked_up_at, decision) = decide_on(fixture, request, policy, (&mut rng, &mut batcher));
            let decided_at = Instant::now();
            black_box(decision);
            let times = [parsed_at - start, looked_up_at - parsed_at, decided_at - looked_up_at];
            times.map(|elapsed| elapsed.as_nanos() as f64)
        };
        (0..decisions / 10).for_each(|_| {
            once();
        });
        let clock_ns = clock_ns();
        let elapsed: Vec<_> = (0..decisions).map(|_| once().map(|ns| (ns - clock_ns).max(0.0))).collect();
        let parsed = parse(&fixture.bodies[0]);
        let allocated = allocation_counter::measure(|| {
            let request = (parsed.request, &parsed.chain[..]);
            black_box(decide_on(fixture, request, policy, (&mut rng, &mut batcher)));
        });
        let each = |of: fn(&[f64; 3]) -> f64| elapsed.iter().map(of).collect::<Vec<_>>();
        Self {
            parse_median_ns: percentile(each(|[parse, ..]| *parse), 50),
            lookup_median_ns: percentile(each(|[_, lookup, _]| *lookup), 50),
            choice_median_ns: percentile(each(|[.., choice]| *choice), 50),
            decision_median_ns: percentile(each(|[_, lookup, choice]| lookup + choice), 50),
            decision_p99_ns: percentile(each(|[_, lookup, choice]| lookup + choice), 99),
            total_median_ns: percentile(each(|times| times.iter().sum()), 50),
            allocations: allocated.count_total,
            allocated_bytes: allocated.bytes_total,
        }
    }
}

/// Looks up and chooses, as the pick of a replica does; returns the time between the two, and the choice.
fn decide_on(
    fixture: &Fixture,
    (request, chain): (Request, &[BlockHash]),
    policy: &Policy,
    (rng, batcher): (&mut SmallRng, &mut FeedbackBatcher),
) -> (Instant, Decision) {
    let pick = fixture.pick(policy);
    let mut inputs = pick.look_up(request, chain, PeerLoad::Current);
    let looked_up_at = Instant::now();
    let (decision, _) = pick.choose(&mut inputs, 0, rng, &mut BatchedFeedback { batcher, now_ms: 0 });
    (looked_up_at, decision)
}

/// Returns the time that it takes to read the clock.
pub(super) fn clock_ns() -> f64 {
    let once = |_| {
        let start = Instant::now();
        (Instant::now() - start).as_nanos() as f64
    };
    percentile((0..1_000).map(once).collect(), 50)
}

/// Returns the value at or below which `percent` percent of the values are.
pub(super) fn percentile(mut values: Vec<f64>, percent: usize) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[(values.len() * percent).div_ceil(100).max(1) - 1]
}
