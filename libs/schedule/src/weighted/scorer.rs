//! How good each candidate is, from 0 to 1.

use serde::{Deserialize, Serialize};

use super::limits::Metric;
use super::session::SessionAffinity;
use super::slate::Slate;
use crate::decision_inputs::DecisionInputs;

/// How good each candidate is, from 0 to 1. Unknown is not idle: a candidate of which a value is not known is as good as the worst
/// of those of which it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scorer {
    /// (most − own) ÷ (most − least) of this metric among the candidates; 1 for all where all are equal.
    Least(Metric),
    /// 1 − share of the KV cache in use.
    KvCacheFree,
    /// ½ where nothing waits, else ½ · (1 − min(waiting, T) ÷ T).
    LoadAware {
        /// T, in requests.
        threshold: f64,
    },
    /// r = held blocks ÷ blocks of the prompt, L = min(1, held tokens ÷ S)²; w·L + (1−w)·r.
    PrefixCache {
        /// w: how much the length of what is held counts, 0 to 1.
        length_weight: f64,
        /// S, in tokens.
        scale_tokens: f64,
    },
    /// 1 where the adapter runs, 0.8 where a slot is free, 0.6 where requests wait for the adapter, else 0.
    LoraAffinity,
    /// 1 where no more requests are in flight than `idle`, else (most − own) ÷ most · `max_busy`.
    ActiveRequests {
        /// In requests.
        idle: f64,
        /// 0 to 1.
        max_busy: f64,
    },
    /// t = tokens in flight + tokens of this prompt that are not held; 1 − min(t, T) ÷ T.
    TokenLoad {
        /// T, in tokens.
        threshold_tokens: f64,
    },
    /// 1 for the endpoint that the session is bound to.
    Session(SessionAffinity),
    /// ½ for all where anyone holds a block of the prompt. Else 1 for the endpoint that has gone the longest without a prompt of
    /// which nobody held a block, falling by 1 ÷ (candidates − 1) to the next.
    NoHitLru,
}

impl Scorer {
    /// Writes the scores into `slate.scores`, in the order of its positions.
    pub(super) fn score(&self, inputs: &DecisionInputs<'_>, slate: &mut Slate) {
        match self {
            Self::Least(metric) => least(slate, |at| metric.at(inputs, at)),
            Self::KvCacheFree => {
                let used = |at| Metric::KvCacheUtilization.at(inputs, at);
                known(slate, 0.0, |at| used(at).map(|used| 1.0 - used));
            }
            Self::LoadAware { threshold } => {
                let waiting = |at| Metric::WaitingQueue.at(inputs, at);
                known(slate, 0.0, |at| waiting(at).map(|waiting| load_aware(waiting, *threshold)));
            }
            Self::PrefixCache { length_weight, scale_tokens } => each(slate, |at| {
                let held_tokens = (inputs.held_blocks(at) * inputs.block_tokens()) as f64;
                let length = (held_tokens / scale_tokens).min(1.0).powi(2);
                length_weight * length + (1.0 - length_weight) * inputs.held_share(at)
            }),
            Self::LoraAffinity => each(slate, |at| lora_affinity(inputs, at)),
            Self::ActiveRequests { idle, max_busy } => active_requests(inputs, slate, *idle, *max_busy),
            Self::TokenLoad { threshold_tokens } => each(slate, |at| {
                let tokens = inputs.load(at).prefill_tokens + inputs.unheld_tokens(at);
                1.0 - (tokens as f64).min(*threshold_tokens) / threshold_tokens
            }),
            Self::Session(session) => {
                let bound = session.bound(inputs, &slate.positions);
                each(slate, |at| if bound == Some(at) { 1.0 } else { 0.0 });
            }
            Self::NoHitLru => no_hit_lru(inputs, slate),
        }
    }
}

fn each(slate: &mut Slate, score: impl Fn(usize) -> f64) {
    slate.scores.clear();
    slate.scores.extend(slate.positions.iter().map(|at| score(*at)));
}

/// Those without a score get the worst of the others', `none_known` where nobody has one.
fn known(slate: &mut Slate, none_known: f64, score: impl Fn(usize) -> Option<f64>) {
    let scores = slate.positions.iter().filter_map(|at| score(*at));
    let worst = scores.reduce(f64::min).unwrap_or(none_known);
    each(slate, |at| score(at).unwrap_or(worst));
}

fn least(slate: &mut Slate, value: impl Fn(usize) -> Option<f64>) {
    let values = || slate.positions.iter().filter_map(|at| value(*at));
    let (least, most) = (values().fold(f64::INFINITY, f64::min), values().fold(0.0, f64::max));
    known(slate, 1.0, |at| {
        value(at).map(|own| if most > least { (most - own) / (most - least) } else { 1.0 })
    });
}

fn load_aware(waiting: f64, threshold: f64) -> f64 {
    if waiting == 0.0 { 0.5 } else { 0.5 * (1.0 - waiting.min(threshold) / threshold) }
}

fn lora_affinity(inputs: &DecisionInputs<'_>, at: usize) -> f64 {
    let Some(residency) = &inputs.member(at).adapters else { return 0.0 };
    let wanted = inputs.request.model.as_str();
    let is_wanted = |name: &std::sync::Arc<str>| **name == *wanted;
    let seen = &residency.seen;
    if seen.running.iter().any(is_wanted) {
        1.0
    } else if seen.running.len() + seen.waiting.len() < seen.slots as usize {
        0.8
    } else if seen.waiting.iter().any(is_wanted) {
        0.6
    } else {
        0.0
    }
}

fn active_requests(inputs: &DecisionInputs<'_>, slate: &mut Slate, idle: f64, max_busy: f64) {
    let requests = |at: usize| f64::from(inputs.load(at).requests);
    let most = slate.positions.iter().map(|at| requests(*at)).fold(0.0, f64::max);
    each(slate, |at| {
        let own = requests(at);
        if own <= idle { 1.0 } else { (most - own) / most * max_busy }
    });
}

fn no_hit_lru(inputs: &DecisionInputs<'_>, slate: &mut Slate) {
    if slate.positions.iter().any(|at| inputs.held_blocks(*at) > 0) {
        return each(slate, |_| 0.5);
    }
    let cold_placement_seq = |at: usize| inputs.member(at).cold_placement_seq;
    let last = slate.positions.len() - 1;
    slate.ranked.clear();
    slate.ranked.extend(0..slate.positions.len());
    // The never used stay in the order of the candidates.
    slate.ranked.sort_unstable_by_key(|index| (cold_placement_seq(slate.positions[*index]), *index));
    slate.scores.clear();
    slate.scores.resize(slate.positions.len(), 1.0);
    for (rank, index) in slate.ranked.iter().enumerate().skip(1) {
        slate.scores[*index] = 1.0 - rank as f64 / last as f64;
    }
}
