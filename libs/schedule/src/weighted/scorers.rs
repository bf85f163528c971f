//! Scorers: how well each candidate suits a request, 0 to 1.

use serde::{Deserialize, Serialize};

use super::candidate_table::CandidateTable;
use super::metric::Metric;
use super::session_affinity::SessionAffinity;
use crate::decision_inputs::DecisionInputs;

/// How well each candidate suits a request, 0 to 1. A missing value does not count as idle: a candidate
/// without it gets the worst score of those that have it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scorer {
    /// (max − own) ÷ (max − min) of the metric among the candidates; 1 for all if all are equal.
    Least(Metric),
    /// 1 − share of the KV cache in use.
    KvCacheFree,
    /// ½ if no request waits, else ½ · (1 − min(waiting, T) ÷ T).
    LoadAware {
        /// T, in requests.
        threshold: f64,
    },
    /// r = held blocks ÷ blocks of the prompt, L = min(1, held tokens ÷ S)²; w·L + (1−w)·r.
    PrefixCache {
        /// w: weight of the length of the held prefix, 0 to 1.
        length_weight: f64,
        /// S, in tokens.
        scale_tokens: f64,
    },
    /// 1 if the adapter has running requests, 0.8 if a slot is free, 0.6 if requests wait for the adapter,
    /// else 0.
    LoraAffinity,
    /// 1 if at most `idle` requests are in flight, else (max − own) ÷ max · `max_busy`.
    ActiveRequests {
        /// Requests in flight up to which an endpoint counts as idle.
        idle: f64,
        /// Upper bound for the scores of busy endpoints, 0 to 1.
        max_busy: f64,
    },
    /// t = tokens in flight + tokens of this prompt after the held blocks; 1 − min(t, T) ÷ T.
    TokenLoad {
        /// T, in tokens.
        threshold_tokens: f64,
    },
    /// 1 for the endpoint that the session is bound to.
    Session(SessionAffinity),
    /// ½ for all if any candidate holds a block of the prompt. Else candidates are ranked by the time since
    /// they last got a prompt that no endpoint held a block of: 1 for the longest ago, decreasing by 1 ÷
    /// (candidates − 1) per rank.
    NoHitLru,
}

impl Scorer {
    /// Writes the scores into `table.scores`, in the order of its positions.
    pub(super) fn score(&self, inputs: &DecisionInputs<'_>, table: &mut CandidateTable) {
        match self {
            Self::Least(metric) => score_least(table, |at| metric.value(inputs, at)),
            Self::KvCacheFree => {
                let used = |at| Metric::KvCacheUtilization.value(inputs, at);
                score_known(table, 0.0, |at| used(at).map(|used| 1.0 - used));
            }
            Self::LoadAware { threshold } => {
                let waiting = |at| Metric::WaitingQueue.value(inputs, at);
                score_known(table, 0.0, |at| waiting(at).map(|waiting| load_aware(waiting, *threshold)));
            }
            Self::PrefixCache { length_weight, scale_tokens } => score_each(table, |at| {
                let held_tokens = inputs.held_tokens(at) as f64;
                let length = (held_tokens / scale_tokens).min(1.0).powi(2);
                length_weight * length + (1.0 - length_weight) * inputs.held_share(at)
            }),
            Self::LoraAffinity => score_each(table, |at| lora_affinity(inputs, at)),
            Self::ActiveRequests { idle, max_busy } => active_requests(inputs, table, *idle, *max_busy),
            Self::TokenLoad { threshold_tokens } => score_each(table, |at| {
                let tokens = inputs.load(at).prefill_tokens + inputs.unmatched_tokens(at);
                1.0 - (tokens as f64).min(*threshold_tokens) / threshold_tokens
            }),
            Self::Session(session) => {
                let bound = session.bound_position(inputs, &table.positions);
                score_each(table, |at| if bound == Some(at) { 1.0 } else { 0.0 });
            }
            Self::NoHitLru => no_hit_lru(inputs, table),
        }
    }
}

/// Stands for the value or score of a candidate that has none.
const UNKNOWN: f64 = f64::NAN;

fn score_each(table: &mut CandidateTable, score: impl Fn(usize) -> f64) {
    table.scores.clear();
    table.scores.extend(table.positions.iter().map(|at| score(*at)));
}

/// Scores all candidates. Those without a score get the worst score of the others, or `default` if no
/// candidate has one.
fn score_known(table: &mut CandidateTable, default: f64, score: impl Fn(usize) -> Option<f64>) {
    score_each(table, |at| score(at).unwrap_or(UNKNOWN));
    fill_unknown(&mut table.scores, default);
}

/// Scores all candidates by their values: 1 for the least, 0 for the largest. Reads each value once.
fn score_least(table: &mut CandidateTable, value: impl Fn(usize) -> Option<f64>) {
    score_each(table, |at| value(at).unwrap_or(UNKNOWN));
    let values = || table.scores.iter().copied().filter(|value| !value.is_nan());
    let (min, max) = (values().fold(f64::INFINITY, f64::min), values().fold(0.0, f64::max));
    for value in table.scores.iter_mut().filter(|value| !value.is_nan()) {
        *value = if max > min { (max - *value) / (max - min) } else { 1.0 };
    }
    fill_unknown(&mut table.scores, 1.0);
}

fn fill_unknown(scores: &mut [f64], default: f64) {
    let known = scores.iter().copied().filter(|score| !score.is_nan());
    let worst = known.reduce(f64::min).unwrap_or(default);
    scores.iter_mut().filter(|score| score.is_nan()).for_each(|score| *score = worst);
}

fn load_aware(waiting: f64, threshold: f64) -> f64 {
    if waiting == 0.0 { 0.5 } else { 0.5 * (1.0 - waiting.min(threshold) / threshold) }
}

fn lora_affinity(inputs: &DecisionInputs<'_>, at: usize) -> f64 {
    let Some(residency) = &inputs.endpoint(at).adapters else { return 0.0 };
    let wanted = inputs.request.model.as_str();
    let is_wanted = |name: &std::sync::Arc<str>| **name == *wanted;
    let reported = &residency.reported;
    if reported.running.iter().any(is_wanted) {
        1.0
    } else if reported.active_count() < reported.slots as usize {
        0.8
    } else if reported.waiting.iter().any(is_wanted) {
        0.6
    } else {
        0.0
    }
}

fn active_requests(inputs: &DecisionInputs<'_>, table: &mut CandidateTable, idle: f64, max_busy: f64) {
    let requests = |at: usize| f64::from(inputs.load(at).requests);
    let max = table.positions.iter().map(|at| requests(*at)).fold(0.0, f64::max);
    score_each(table, |at| {
        let own = requests(at);
        if own <= idle { 1.0 } else { (max - own) / max * max_busy }
    });
}

fn no_hit_lru(inputs: &DecisionInputs<'_>, table: &mut CandidateTable) {
    if table.positions.iter().any(|at| inputs.held_blocks(*at) > 0) {
        return score_each(table, |_| 0.5);
    }
    let cold_placement_seq = |at: usize| inputs.endpoint(at).cold_placement_seq;
    let last = table.positions.len() - 1;
    table.ranked.clear();
    table.ranked.extend(0..table.positions.len());
    // Endpoints that never got such a prompt stay in the order of the candidates.
    table.ranked.sort_unstable_by_key(|index| (cold_placement_seq(table.positions[*index]), *index));
    table.scores.clear();
    table.scores.resize(table.positions.len(), 1.0);
    for (rank, index) in table.ranked.iter().enumerate().skip(1) {
        table.scores[*index] = 1.0 - rank as f64 / last as f64;
    }
}
