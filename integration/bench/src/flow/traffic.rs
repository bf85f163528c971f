//! The requests of a scene, and when they are sent at a load.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use signalbox_bench_report::mean;
use signalbox_modelsim::ModelConfig;
use signalbox_modelsim::profiles::{self, Profile};
use signalbox_workload::{Author, Item, Prompt, Segment};

use super::scenes::{Arrivals, CRITICAL, Scene, TENANTS, TIERS, tenant_name};
use crate::policies::{Visibility, signalbox};
use crate::routing::Workload;
use crate::sim::flow::{Control, FlowRun, Sender};
use crate::sim::{self, RunConfig, RunResult, SimRequest};

/// The pods.
pub(super) const PODS: usize = 8;
const PROFILE: &str = "l40s-8b";

/// Tokens of a tenant's system prompt, and of each answer.
const SYSTEM_TOKENS: u32 = 400;
const OUTPUT_TOKENS: u32 = 128;

/// Seconds for which requests are sent in each run.
pub(super) const SECONDS: f64 = 90.0;

/// The greatest load, in percent.
const MOST_PERCENT: f64 = 200.0;

/// Period of the bursts, the part of it that is one, and the rates in both parts.
const BURST_PERIOD_S: f64 = 4.0;
const BURST_S: f64 = 1.0;
const BURST_RATE: f64 = 2.5;
const PAUSE_RATE: f64 = 0.5;

/// The requests of a scene in the order of their times, without times.
pub(super) struct Traffic {
    pub(super) scene: &'static Scene,
    pub(super) pods: Vec<ModelConfig>,
    requests: Vec<SimRequest>,
    senders: Vec<Sender>,
    /// When each is sent if the rate is 1 per second.
    positions: Vec<f64>,
    /// The requests per second that the pods can serve.
    pub(super) capacity_per_second: f64,
}

/// Requests with their times, and who sends them.
pub(super) struct Sent {
    pub(super) requests: Vec<SimRequest>,
    pub(super) senders: Vec<Sender>,
}

impl Traffic {
    /// Generates the requests of a scene, and finds out how many the pods can serve.
    ///
    /// # Errors
    /// Fails when a pod cannot serve one of the requests.
    pub(super) fn generate(scene: &'static Scene, seed: u64) -> anyhow::Result<Self> {
        let mut rng = SmallRng::seed_from_u64(seed);
        let profile = profiles::find(PROFILE).expect("the profile is among those of modelsim");
        let count = (estimated_capacity(scene, profile) * SECONDS * MOST_PERCENT / 100.0 * 1.1) as usize;
        let (mut items, mut senders, mut positions) = (Vec::new(), Vec::new(), Vec::new());
        let mut at_s = 0.0;
        for _ in 0..count {
            at_s -= (1.0 - rng.random::<f64>()).ln();
            let (sender, tenant) = sender(scene, &mut rng);
            items.push(item(at_s, scene.tokens(tenant), tenant, &mut rng));
            senders.push(sender);
            positions.push(at_s);
        }
        let Workload { requests, pods, .. } = Workload::new(&[profile; PODS], &items)?;
        let mut traffic = Self { scene, pods, requests, senders, positions, capacity_per_second: 0.0 };
        traffic.capacity_per_second = traffic.measure_capacity(seed);
        Ok(traffic)
    }

    /// Returns the requests that are sent at a load in percent of the capacity.
    pub(super) fn at(&self, load_percent: u32) -> Sent {
        let per_second = self.capacity_per_second * f64::from(load_percent) / 100.0;
        self.sent(per_second, self.scene.arrivals)
    }

    fn sent(&self, per_second: f64, arrivals: Arrivals) -> Sent {
        let all = self.requests.iter().zip(&self.senders).zip(&self.positions);
        let timed = all.map(|((request, sender), position)| {
            let steady_s = position / per_second;
            let is_steady = arrivals == Arrivals::Steady || sender.priority == CRITICAL;
            (if is_steady { steady_s } else { in_bursts(steady_s) }, request, sender)
        });
        let mut timed: Vec<_> = timed.filter(|(at_s, ..)| *at_s < SECONDS).collect();
        timed.sort_by(|one, other| one.0.total_cmp(&other.0));
        let at =
            |at_s: f64, request: &SimRequest| SimRequest { at_us: (at_s * 1e6) as u64, ..request.clone() };
        Sent {
            requests: timed.iter().map(|(at_s, request, _)| at(*at_s, request)).collect(),
            senders: timed.iter().map(|(_, _, sender)| (*sender).clone()).collect(),
        }
    }

    /// Returns the requests per second that the pods serve while each has a queue.
    fn measure_capacity(&self, seed: u64) -> f64 {
        let most = self.requests.len() as f64 / SECONDS;
        let sent = self.sent(most, Arrivals::Steady);
        let until_us = (SECONDS * 1e6) as u64;
        let flow = FlowRun { senders: &sent.senders, control: &Control::None, until_us: Some(until_us) };
        let run = sim::run(RunConfig {
            requests: &sent.requests,
            speed: 1.0,
            pods: &self.pods,
            contender: &signalbox(Visibility::Pool),
            replicas: 1,
            kills: &[],
            seed,
            flow: Some(flow),
        });
        tokens_per_second(&run, &sent) / mean_tokens(&sent)
    }
}

/// Returns the tokens of the requests that ended in the second half of a run, per second.
fn tokens_per_second(run: &RunResult, sent: &Sent) -> f64 {
    let (from_us, to_us) = (SECONDS * 0.5e6, SECONDS * 1e6);
    let ended = run.served.iter().zip(&sent.requests).filter(|(served, _)| served.e2e_us > 0);
    let ended = ended.filter(|(served, _)| {
        let at_us = (served.arrived_us + served.e2e_us) as f64;
        (from_us..to_us).contains(&at_us)
    });
    ended.map(|(_, request)| tokens(request)).sum::<f64>() / (SECONDS * 0.5)
}

fn mean_tokens(sent: &Sent) -> f64 {
    mean(sent.requests.iter().map(tokens)).unwrap_or(0.0)
}

/// Returns the tokens that a pod computes for a request: those of its output, and those of its prompt beyond the tenant's
/// system prompt, which every pod has cached. Otherwise, whoever serves more short requests would seem to serve more.
pub(super) fn tokens(request: &SimRequest) -> f64 {
    f64::from(request.prompt.tokens.saturating_sub(SYSTEM_TOKENS)) + f64::from(request.output_tokens)
}

/// Returns a rate that the pods cannot exceed: they only compute uncached prompts.
fn estimated_capacity(scene: &Scene, profile: &Profile) -> f64 {
    let shortest_share = (0..TENANTS).map(|tenant| 1.0 / f64::from(scene.tokens(tenant))).sum::<f64>();
    PODS as f64 * f64::from(profile.model.prefill_tokens_per_second) * shortest_share / TENANTS as f64
}

/// Draws who sends the next request: tokens, not requests, have the shares of the scene.
fn sender(scene: &Scene, rng: &mut SmallRng) -> (Sender, usize) {
    let weight = |priority, share, tenant: usize| {
        share * scene.share(priority, tenant) / f64::from(scene.tokens(tenant))
    };
    let all = TIERS.iter().flat_map(|(priority, share)| {
        (0..TENANTS).map(move |tenant| (*priority, tenant, weight(*priority, *share, tenant)))
    });
    let mut left = rng.random::<f64>() * all.clone().map(|(_, _, weight)| weight).sum::<f64>();
    let mut drawn = (CRITICAL, 0);
    for (priority, tenant, weight) in all {
        drawn = (priority, tenant);
        left -= weight;
        if left < 0.0 {
            break;
        }
    }
    let (priority, tenant) = drawn;
    let sender = Sender { priority, tenant: tenant_name(tenant).into(), entry: scene.entry(tenant) };
    (sender, tenant)
}

/// Returns a request: the tenant's system prompt and text that no other has.
fn item(at_s: f64, tokens: u32, tenant: usize, rng: &mut SmallRng) -> Item {
    let tokens = (f64::from(tokens) * (0.7 + 0.6 * rng.random::<f64>())) as u32;
    let system = Segment { author: Author::System, content: tenant as u64 + 1, tokens: SYSTEM_TOKENS };
    let user = Segment { author: Author::User, content: rng.random(), tokens };
    Item {
        at_us: (at_s * 1e6) as u64,
        prompt: Prompt::new([system, user]),
        output_tokens: rng.random_range(OUTPUT_TOKENS / 2..=OUTPUT_TOKENS * 3 / 2),
        answer: rng.random(),
    }
}

/// Returns when what comes at `at_s` at a constant rate comes in bursts with the same mean rate.
fn in_bursts(at_s: f64) -> f64 {
    let (periods, within_s) = ((at_s / BURST_PERIOD_S).floor(), at_s % BURST_PERIOD_S);
    let burst = BURST_S * BURST_RATE;
    let later_s =
        if within_s < burst { within_s / BURST_RATE } else { BURST_S + (within_s - burst) / PAUSE_RATE };
    periods * BURST_PERIOD_S + later_s
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bursts_have_the_mean_rate_and_keep_the_order() {
        let times: Vec<f64> = (0..=800).map(|at| in_bursts(f64::from(at) / 100.0)).collect();
        assert!(times.is_sorted());
        assert!((times[400] - 4.0).abs() < 1e-9 && (times[800] - 8.0).abs() < 1e-9);
        assert!((times[250] - 1.0).abs() < 1e-9, "{}", times[250]);
    }
}
