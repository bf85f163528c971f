//! Explains decisions: every candidate with its terms, and a sentence that says why the winner won.

use rand::SeedableRng;
use rand::rngs::SmallRng;
use serde::{Deserialize, Serialize};
use signalbox_state::EndpointState;
use signalbox_types::{Rates, Request};

use crate::decision::Decision;
use crate::decision_inputs::{DecisionInputs, Exclusion};
use crate::least_time::{CostTerms, EndpointCosts, LeastTime};
use crate::policy::Policy;
use crate::weighted::{DecisionTrace, EndpointTrace, Picker, ScoreTrace};

/// One endpoint with its terms.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// Name of the endpoint.
    pub endpoint: String,
    /// Address that requests are sent to.
    pub address: String,
    /// Cost terms of the request at this endpoint.
    #[serde(flatten)]
    pub terms: CostTerms,
    /// Whole cost, in microseconds.
    pub total_us: u64,
    /// Rates of the endpoint that the cost is based on.
    pub rates: Rates,
    /// Ramp of the endpoint, in percent.
    pub ramp_percent: u8,
    /// Recent mean of the predicted minus the reported cached tokens; `None` if the engine reports none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached_tokens_error: Option<i32>,
    /// What removed the endpoint from the candidates: the name of a filter, `subset` for the gateway,
    /// `draining`, or the endpoint's health.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub removed_by: Option<String>,
    /// Score of each scorer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scores: Vec<ScoreTrace>,
    /// Sum of all scores × their weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<f64>,
}

impl Candidate {
    fn new(endpoint: &EndpointState, terms: CostTerms, trace: EndpointTrace) -> Self {
        let EndpointTrace { removed_by, scores, total } = trace;
        Self {
            endpoint: endpoint.spec.name.clone(),
            address: endpoint.spec.address.to_string(),
            terms,
            total_us: terms.total_us(),
            rates: endpoint.assessment.rates,
            ramp_percent: endpoint.assessment.ramp_percent,
            cached_tokens_error: endpoint.cache_accuracy.mean_error_tokens,
            removed_by,
            scores,
            total,
        }
    }
}

/// The reasons for a decision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// Version of the view, `epoch.seq`; `None` before the first snapshot.
    pub version: Option<String>,
    /// Age of the view, in milliseconds.
    pub view_age_ms: u64,
    /// Seed of the random choice among ties.
    pub seed: u64,
    /// Properties of the request.
    pub request: Request,
    /// Endpoint that serves the request; `None` if no endpoint was chosen.
    pub winner: Option<String>,
    /// The reason in one sentence.
    pub why: String,
    /// All endpoints, the best first.
    pub candidates: Vec<Candidate>,
}

/// Decides as [`crate::decide`] does with a generator seeded by `seed`, and explains the decision.
pub fn explain(
    inputs: &DecisionInputs<'_>,
    policy: &Policy,
    (view_age_ms, seed): (u64, u64),
) -> (Decision, Explanation) {
    let DecisionInputs { view, request, .. } = *inputs;
    let rng = &mut SmallRng::seed_from_u64(seed);
    let mut trace = DecisionTrace::new(inputs);
    let (costs, decision) = match policy {
        Policy::LeastTime(settings) => {
            let costs = EndpointCosts::compute(inputs, settings);
            let decision = costs.pick(settings, rng);
            (costs, decision)
        }
        Policy::Weighted(weighted) => {
            let decision = weighted.decide(inputs, rng, &mut trace);
            trace.finish(inputs);
            (EndpointCosts::compute(inputs, &weighted.cost_settings), decision)
        }
    };
    let winner = match decision {
        Decision::Picked { position, .. } => Some(view.endpoints[position].spec.name.clone()),
        Decision::NoEndpoint | Decision::Filtered => None,
    };
    let traced = view.endpoints.iter().zip(costs.terms()).zip(trace.endpoints);
    let mut candidates: Vec<_> =
        traced.map(|((endpoint, terms), trace)| Candidate::new(endpoint, *terms, trace)).collect();
    candidates.sort_by(|one, other| {
        let rank = |candidate: &Candidate| {
            let is_winner = winner.as_ref() == Some(&candidate.endpoint);
            (!is_winner, candidate.removed_by.is_some())
        };
        let by_total = other.total.unwrap_or(0.0).total_cmp(&one.total.unwrap_or(0.0));
        let by_time =
            |candidate: &Candidate| (candidate.terms.tier, candidate.total_us, candidate.endpoint.clone());
        rank(one).cmp(&rank(other)).then(by_total).then_with(|| by_time(one).cmp(&by_time(other)))
    });
    let why = match (policy, decision) {
        (_, Decision::NoEndpoint) => why_no_endpoint(&candidates).to_owned(),
        (_, Decision::Filtered) => "the filters removed every endpoint".to_owned(),
        (Policy::LeastTime(settings), Decision::Picked { .. }) => why_least_time(&candidates, settings),
        (Policy::Weighted(weighted), Decision::Picked { .. }) => why_weighted(&candidates, weighted.picker),
    };
    let explanation = Explanation {
        version: view.version.map(|version| version.to_string()),
        view_age_ms,
        seed,
        request: request.clone(),
        why,
        winner,
        candidates,
    };
    (decision, explanation)
}

/// Returns why none of `candidates` can get the request.
fn why_no_endpoint(candidates: &[Candidate]) -> &'static str {
    let draining = Some(Exclusion::Draining.name());
    let draining = candidates.iter().filter(|candidate| candidate.removed_by.as_deref() == draining).count();
    match draining {
        _ if candidates.is_empty() => "the pool has no endpoints",
        0 => "the gateway allows none of the pool's endpoints",
        _ if draining == candidates.len() => "all endpoints of the pool are draining",
        _ => "the gateway allows none of the pool's endpoints that are not draining",
    }
}

/// Returns the reason for a least-time decision. `candidates` are sorted, the winner first.
fn why_least_time(candidates: &[Candidate], settings: &LeastTime) -> String {
    let mut candidates = candidates.iter().filter(|candidate| candidate.removed_by.is_none());
    let (Some(winner), second) = (candidates.next(), candidates.next()) else { return String::new() };
    let name = &winner.endpoint;
    let Some(second) = second else {
        return format!("{name} is the only endpoint");
    };
    if second.terms.tier != winner.terms.tier {
        return format!(
            "{name} is the only endpoint in tier {:?}; all others are in worse tiers",
            winner.terms.tier
        )
        .to_lowercase();
    }
    let total_ms = winner.total_us as f64 / 1e3;
    if second.total_us <= winner.total_us.saturating_add(settings.near_tie_us) {
        return format!(
            "{name} costs {total_ms:.1} ms and was drawn at random among endpoints of about that cost"
        );
    }
    let gain_ms = (second.total_us - winner.total_us) as f64 / 1e3;
    let runner_up = &second.endpoint;
    format!("{name} costs {total_ms:.1} ms, {gain_ms:.1} ms less than {runner_up}")
}

/// Returns the reason for a weighted decision. `candidates` are sorted, the winner first.
fn why_weighted(candidates: &[Candidate], picker: Picker) -> String {
    let mut candidates = candidates.iter().filter(|candidate| candidate.removed_by.is_none());
    let (Some(winner), second) = (candidates.next(), candidates.next()) else { return String::new() };
    let (name, total) = (&winner.endpoint, winner.total.unwrap_or(0.0));
    let Some(second) = second else {
        return format!("{name} is the only endpoint that passed the filters");
    };
    let (runner_up, second) = (&second.endpoint, second.total.unwrap_or(0.0));
    match picker {
        Picker::Random => format!("{name} was drawn at random among the endpoints that passed the filters"),
        Picker::WeightedRandom => {
            format!("{name} was drawn with a probability in proportion to its total score {total:.4}")
        }
        Picker::MaxScore if second < total => {
            format!("{name} has the total score {total:.4}, {:.4} more than {runner_up}", total - second)
        }
        Picker::MaxScore => {
            format!("{name} was drawn at random among the endpoints with the total score {total:.4}")
        }
    }
}
