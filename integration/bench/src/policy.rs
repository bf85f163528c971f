//! What is compared, and the one place that calls for a decision.

use anyhow::Context;
use rand::Rng;
use rand::rngs::SmallRng;
use rand::seq::IteratorRandom;
use signalbox_schedule::{
    Decision, DecisionInputs, Filter, FilterStep, LeastTime, Metric, Picker, Policy, PrefixAffinity, Scorer,
    ScorerStep, Weighted, decide,
};

/// Bytes of prompt that count as one token.
const BYTES_PER_TOKEN: u64 = 4;

/// A policy that takes part.
#[derive(Clone, Debug)]
pub(crate) struct Contender {
    pub(crate) name: String,
    pub(crate) sight: Sight,
    pub(crate) chooser: Chooser,
}

/// What a replica sees besides the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sight {
    /// What all replicas did, as it is propagated.
    Pool,
    /// What it did itself.
    Own,
}

/// How an endpoint is chosen.
#[derive(Clone, Debug)]
pub(crate) enum Chooser {
    /// Any.
    Random,
    /// One after the other.
    RoundRobin,
    /// The one with the fewest requests.
    LeastLoad,
    /// The one that holds the most of the prompt.
    PrefixOnly,
    /// Each in proportion to its weight, as evenly as that can be.
    Split(Vec<f64>),
    /// The product's decision.
    Decide(Box<Policy>),
}

/// The endpoint that was chosen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Choice {
    pub(crate) position: usize,
    /// Prompt tokens that it holds.
    pub(crate) cached_tokens: u64,
}

/// Whose turn it is, for choosers that go by turns.
#[derive(Debug)]
pub(crate) struct Turn {
    next: usize,
    credit: Vec<f64>,
}

impl Turn {
    pub(crate) fn new(first: u32) -> Self {
        Self { next: first as usize, credit: Vec::new() }
    }
}

/// The policies that are compared, ours last.
pub(crate) fn contenders() -> Vec<Contender> {
    let own = |name: &str, chooser| Contender { name: name.to_owned(), sight: Sight::Own, chooser };
    vec![
        own("random", Chooser::Random),
        own("round-robin", Chooser::RoundRobin),
        own("least-load", Chooser::LeastLoad),
        own("prefix-only", Chooser::PrefixOnly),
        own(GO_DEFAULT, Chooser::Decide(Box::new(Policy::Weighted(go_default())))),
        own(GO_AFFINITY, Chooser::Decide(Box::new(Policy::Weighted(go_affinity())))),
        Contender { name: OURS.to_owned(), sight: Sight::Pool, chooser: Chooser::Decide(Box::default()) },
    ]
}

/// The names that verdicts are about.
pub(crate) const GO_DEFAULT: &str = "go-default";
pub(crate) const GO_AFFINITY: &str = "go-affinity";
pub(crate) const OURS: &str = "ours";

/// Ours with other settings than the default ones, given as `name=value,…`.
///
/// # Errors
/// Settings that the default policy does not have, or of another kind.
pub(crate) fn variant(settings: &str) -> anyhow::Result<Contender> {
    let mut all = serde_json::to_value(LeastTime::default())?;
    for setting in settings.split(',') {
        let (name, value) =
            setting.split_once('=').with_context(|| format!("\"{setting}\" is not name=value"))?;
        let known =
            all.get_mut(name).with_context(|| format!("the default policy has no setting \"{name}\""))?;
        *known = serde_json::from_str(value).with_context(|| format!("\"{value}\" is no value"))?;
    }
    let policy = Policy::LeastTime(serde_json::from_value(all).context(settings.to_owned())?);
    Ok(Contender {
        name: settings.to_owned(),
        sight: Sight::Pool,
        chooser: Chooser::Decide(Box::new(policy)),
    })
}

/// The policy that the loads are measured against.
pub(crate) fn least_load() -> Contender {
    Contender { name: "least-load".to_owned(), sight: Sight::Own, chooser: Chooser::LeastLoad }
}

/// The Go EPP's configuration when it is given none.
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

/// llm-d's present advice: `prefix-cache-affinity-filter` and `token-load-scorer`, with their defaults.
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
        expected: LeastTime::default(),
    }
}

impl Chooser {
    /// Chooses an endpoint.
    pub(crate) fn choose(&self, inputs: &DecisionInputs<'_>, turn: &mut Turn, rng: &mut SmallRng) -> Choice {
        let count = inputs.view.endpoints.len();
        let position = match self {
            Self::Random => rng.random_range(0..count),
            Self::RoundRobin => {
                turn.next += 1;
                turn.next % count
            }
            Self::LeastLoad => least(count, rng, |at| requests(inputs, at)),
            Self::PrefixOnly => least(count, rng, |at| u64::MAX - inputs.matches.blocks[at] as u64),
            Self::Split(weights) => split(weights, &mut turn.credit),
            Self::Decide(policy) => match decide(inputs, policy, rng) {
                Decision::Picked { position, terms } => {
                    return Choice { position, cached_tokens: terms.cached_tokens };
                }
                Decision::NoEndpoint | Decision::Filtered => panic!("no policy here refuses a request"),
            },
        };
        let held_tokens = inputs.matches.blocks[position] as u64 * u64::from(inputs.view.format.block_bytes)
            / BYTES_PER_TOKEN;
        let cached_tokens = held_tokens.min(inputs.request.prompt_tokens.saturating_sub(1));
        Choice { position, cached_tokens }
    }
}

/// Requests at an endpoint: those that were booked, and those that its metrics tell of beyond them.
fn requests(inputs: &DecisionInputs<'_>, at: usize) -> u64 {
    let member = &inputs.view.endpoints[at];
    u64::from(inputs.local.load_at(at, member).requests) + u64::from(member.observed.unbooked_requests)
}

/// The position with the least value, at random among equals.
fn least(count: usize, rng: &mut SmallRng, value: impl Fn(usize) -> u64) -> usize {
    let least = (0..count).map(&value).min();
    let equals = (0..count).filter(|at| Some(value(*at)) == least);
    equals.choose(rng).unwrap_or(0)
}

/// Smooth weighted round robin: everyone earns its weight, the richest is chosen and pays for all.
fn split(weights: &[f64], credit: &mut Vec<f64>) -> usize {
    credit.resize(weights.len(), 0.0);
    credit.iter_mut().zip(weights).for_each(|(credit, weight)| *credit += weight);
    let richest =
        (0..weights.len()).max_by(|one, other| credit[*one].total_cmp(&credit[*other])).unwrap_or(0);
    credit[richest] -= weights.iter().sum::<f64>();
    richest
}
