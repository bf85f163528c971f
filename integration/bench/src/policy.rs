//! The compared policies, and the only place where the benchmarks make a decision.

use anyhow::Context;
use rand::Rng;
use rand::rngs::SmallRng;
use rand::seq::IteratorRandom;
use signalbox_schedule::{
    Decision, DecisionInputs, Filter, FilterStep, LeastTime, Metric, Picker, Policy, PrefixAffinity, Scorer,
    ScorerStep, Weighted, decide,
};

/// Prompt bytes that count as one token.
const BYTES_PER_TOKEN: u64 = 4;

/// A policy in a benchmark.
#[derive(Clone, Debug)]
pub(crate) struct BenchPolicy {
    pub(crate) name: String,
    pub(crate) visibility: Visibility,
    pub(crate) algorithm: Algorithm,
}

/// What a replica knows besides the scraped metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Visibility {
    /// The decisions of all replicas, as they are propagated.
    Pool,
    /// Its own decisions.
    Own,
}

/// How an endpoint is chosen.
#[derive(Clone, Debug)]
pub(crate) enum Algorithm {
    /// A random endpoint.
    Random,
    /// Each endpoint in turn.
    RoundRobin,
    /// The endpoint with the fewest requests.
    LeastLoad,
    /// The endpoint that holds the longest prefix of the prompt.
    PrefixOnly,
    /// Each endpoint in proportion to its weight, spread as evenly as possible.
    WeightedRoundRobin(Vec<f64>),
    /// Signalbox's decision with this policy.
    Decide(Box<Policy>),
}

/// The chosen endpoint.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Choice {
    pub(crate) position: usize,
    /// Prompt tokens that the endpoint holds.
    pub(crate) cached_tokens: u64,
}

/// State of the algorithms that rotate over the endpoints.
#[derive(Debug)]
pub(crate) struct Rotation {
    next: usize,
    credit: Vec<f64>,
}

impl Rotation {
    pub(crate) fn new(first: u32) -> Self {
        Self { next: first as usize, credit: Vec::new() }
    }
}

/// Returns the compared policies, Signalbox last.
pub(crate) fn compared_policies() -> Vec<BenchPolicy> {
    let baseline =
        |name: &str, algorithm| BenchPolicy { name: name.to_owned(), visibility: Visibility::Own, algorithm };
    vec![
        baseline("random", Algorithm::Random),
        baseline("round-robin", Algorithm::RoundRobin),
        baseline("least-load", Algorithm::LeastLoad),
        baseline("prefix-only", Algorithm::PrefixOnly),
        baseline(GO_DEFAULT, Algorithm::Decide(Box::new(Policy::Weighted(go_default())))),
        baseline(GO_AFFINITY, Algorithm::Decide(Box::new(Policy::Weighted(go_affinity())))),
        BenchPolicy {
            name: SIGNALBOX.to_owned(),
            visibility: Visibility::Pool,
            algorithm: Algorithm::Decide(Box::default()),
        },
    ]
}

/// Names of the policies that goals refer to.
pub(crate) const GO_DEFAULT: &str = "go-default";
pub(crate) const GO_AFFINITY: &str = "go-affinity";
pub(crate) const SIGNALBOX: &str = "signalbox";

/// Returns Signalbox's policy with changed settings, given as `name=value,…`.
///
/// # Errors
/// Fails on settings that the default policy does not have, and on values of the wrong type.
pub(crate) fn variant(settings: &str) -> anyhow::Result<BenchPolicy> {
    let mut settings_object = serde_json::to_value(LeastTime::default())?;
    for setting in settings.split(',') {
        let (name, value) =
            setting.split_once('=').with_context(|| format!("\"{setting}\" is not name=value"))?;
        let known = settings_object
            .get_mut(name)
            .with_context(|| format!("the default policy has no setting \"{name}\""))?;
        *known = serde_json::from_str(value).with_context(|| format!("\"{value}\" is not a valid value"))?;
    }
    let policy = Policy::LeastTime(serde_json::from_value(settings_object).context(settings.to_owned())?);
    Ok(BenchPolicy {
        name: settings.to_owned(),
        visibility: Visibility::Pool,
        algorithm: Algorithm::Decide(Box::new(policy)),
    })
}

/// Returns the policy that defines the saturation rate.
pub(crate) fn least_load() -> BenchPolicy {
    BenchPolicy {
        name: "least-load".to_owned(),
        visibility: Visibility::Own,
        algorithm: Algorithm::LeastLoad,
    }
}

/// Returns the Go EPP's default configuration.
fn go_default() -> Weighted {
    let step = |name: &str, scorer, weight| ScorerStep { name: name.to_owned(), scorer, weight };
    let prefix = Scorer::PrefixCache { length_weight: 0.0, scale_tokens: 8_192.0 };
    Weighted {
        scorers: vec![
            step("queue-scorer", Scorer::Least(Metric::WaitingQueue), 2.0),
            step("kv-cache-utilization-scorer", Scorer::KvCacheFree, 2.0),
            step("prefix-cache-scorer", prefix, 3.0),
        ],
        picker: Picker::MaxScore,
        ..Weighted::default()
    }
}

/// Returns llm-d's recommended configuration: `prefix-cache-affinity-filter` and `token-load-scorer` with
/// their defaults.
fn go_affinity() -> Weighted {
    let affinity = PrefixAffinity {
        threshold: 0.8,
        exploration: 0.0,
        max_penalty_ms: 18_000.0,
        peak_tokens_per_second: 15_928.0,
    };
    let filter = Filter::PrefixAffinity(affinity);
    let scorer = Scorer::TokenLoad { threshold_tokens: 4_194_304.0 };
    Weighted {
        filters: vec![FilterStep { name: "prefix-cache-affinity-filter".to_owned(), filter }],
        scorers: vec![ScorerStep { name: "token-load-scorer".to_owned(), scorer, weight: 1.0 }],
        picker: Picker::MaxScore,
        cost_settings: LeastTime::default(),
    }
}

impl Algorithm {
    /// Chooses an endpoint.
    pub(crate) fn choose(
        &self,
        inputs: &DecisionInputs<'_>,
        rotation: &mut Rotation,
        rng: &mut SmallRng,
    ) -> Choice {
        let count = inputs.view.endpoints.len();
        let position = match self {
            Self::Random => rng.random_range(0..count),
            Self::RoundRobin => {
                rotation.next += 1;
                rotation.next % count
            }
            Self::LeastLoad => least(count, rng, |at| requests(inputs, at)),
            Self::PrefixOnly => least(count, rng, |at| u64::MAX - inputs.matches.blocks[at] as u64),
            Self::WeightedRoundRobin(weights) => weighted_round_robin(weights, &mut rotation.credit),
            Self::Decide(policy) => match decide(inputs, policy, rng) {
                Decision::Picked { position, terms } => {
                    return Choice { position, cached_tokens: terms.cached_tokens };
                }
                Decision::NoEndpoint | Decision::Filtered => {
                    panic!("none of these policies refuses a request")
                }
            },
        };
        let held_tokens = inputs.matches.blocks[position] as u64 * u64::from(inputs.view.format.block_bytes)
            / BYTES_PER_TOKEN;
        let cached_tokens = held_tokens.min(inputs.request.prompt_tokens.saturating_sub(1));
        Choice { position, cached_tokens }
    }
}

/// Returns the number of requests at an endpoint: booked ones, and unbooked ones that its metrics show.
fn requests(inputs: &DecisionInputs<'_>, at: usize) -> u64 {
    let member = &inputs.view.endpoints[at];
    u64::from(inputs.local.load_at(at, member).requests) + u64::from(member.observed.unbooked_requests)
}

/// Returns the position with the least value; ties are broken at random.
fn least(count: usize, rng: &mut SmallRng, value: impl Fn(usize) -> u64) -> usize {
    let least = (0..count).map(&value).min();
    let equals = (0..count).filter(|at| Some(value(*at)) == least);
    equals.choose(rng).unwrap_or(0)
}

/// Smooth weighted round robin: every position gains its weight as credit; the one with the highest credit is
/// chosen and pays the sum of all weights.
fn weighted_round_robin(weights: &[f64], credit: &mut Vec<f64>) -> usize {
    credit.resize(weights.len(), 0.0);
    credit.iter_mut().zip(weights).for_each(|(credit, weight)| *credit += weight);
    let highest =
        (0..weights.len()).max_by(|one, other| credit[*one].total_cmp(&credit[*other])).unwrap_or(0);
    credit[highest] -= weights.iter().sum::<f64>();
    highest
}
