//! A decision in words and numbers.

use rand::SeedableRng;
use rand::rngs::SmallRng;
use serde::{Deserialize, Serialize};
use signalbox_state::EndpointState;
use signalbox_types::{Rates, Request};

use crate::decide::{Candidates, Decision};
use crate::decision_inputs::DecisionInputs;
use crate::least_time::{LeastTime, Terms};
use crate::policy::Policy;
use crate::weighted::{Entry, Ledger, Mark, Picker};

/// One endpoint and its terms.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// Its name.
    pub endpoint: String,
    /// Where requests for it go.
    pub address: String,
    /// What serving the request there costs.
    #[serde(flatten)]
    pub terms: Terms,
    /// The whole cost, in microseconds.
    pub total_us: u64,
    /// How fast it is taken to be.
    pub rates: Rates,
    /// By how much longer than that it is taken to need because it is new, in percent.
    pub ramp_percent: u8,
    /// What took it out of the candidates: the name of a filter, `subset` for the gateway, or what is wrong with the endpoint
    /// itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub removed_by: Option<String>,
    /// What each scorer gave it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub marks: Vec<Mark>,
    /// The sum of all scores times their weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<f64>,
}

impl Candidate {
    fn new(member: &EndpointState, terms: Terms, entry: Entry) -> Self {
        let Entry { removed_by, marks, total } = entry;
        Self {
            endpoint: member.spec.name.clone(),
            address: member.spec.address.to_string(),
            terms,
            total_us: terms.total_us(),
            rates: member.assessment.rates,
            ramp_percent: member.assessment.ramp_percent,
            removed_by,
            marks,
            total,
        }
    }
}

/// Why a request goes where it goes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// The version of the view, `epoch.seq`; `None` before the first snapshot.
    pub version: Option<String>,
    /// How old the view was, in milliseconds.
    pub view_age_ms: u64,
    /// By which ties were broken.
    pub seed: u64,
    /// What is known of the request.
    pub request: Request,
    /// The endpoint that serves it; `None` when the pool has no endpoint.
    pub winner: Option<String>,
    /// In a sentence, why.
    pub why: String,
    /// All endpoints, the best first.
    pub candidates: Vec<Candidate>,
}

/// Decides as [`crate::decide`] does with a generator seeded by `seed`, and says why.
pub fn explain(inputs: &DecisionInputs<'_>, policy: &Policy, (now_ms, seed): (u64, u64)) -> Explanation {
    let DecisionInputs { view, request, .. } = *inputs;
    let rng = &mut SmallRng::seed_from_u64(seed);
    let mut ledger = Ledger::new(inputs);
    let (assessed, decision) = match policy {
        Policy::LeastTime(settings) => {
            let assessed = Candidates::assess(inputs, settings);
            let decision = assessed.pick(settings, rng);
            (assessed, decision)
        }
        Policy::Weighted(weighted) => {
            let decision = weighted.decide(inputs, rng, &mut ledger);
            ledger.close(inputs);
            (Candidates::assess(inputs, &weighted.expected), decision)
        }
    };
    let winner = match decision {
        Decision::Picked { position, .. } => Some(view.endpoints[position].spec.name.clone()),
        Decision::NoEndpoint | Decision::Filtered => None,
    };
    let known = view.endpoints.iter().zip(assessed.terms()).zip(ledger.entries);
    let mut candidates: Vec<_> =
        known.map(|((member, terms), entry)| Candidate::new(member, *terms, entry)).collect();
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
        (_, Decision::NoEndpoint) if candidates.is_empty() => "the pool has no endpoint".to_owned(),
        (_, Decision::NoEndpoint) => "the gateway allows none of the pool's endpoints".to_owned(),
        (_, Decision::Filtered) => "the filters left no endpoint".to_owned(),
        (Policy::LeastTime(settings), Decision::Picked { .. }) => why_least_time(&candidates, settings),
        (Policy::Weighted(weighted), Decision::Picked { .. }) => why_weighted(&candidates, weighted.picker),
    };
    Explanation {
        version: view.version.map(|version| version.to_string()),
        view_age_ms: view.age_ms(now_ms),
        seed,
        request: request.clone(),
        why,
        winner,
        candidates,
    }
}

/// `candidates` are in order, the winner first.
fn why_least_time(candidates: &[Candidate], settings: &LeastTime) -> String {
    let mut candidates = candidates.iter().filter(|candidate| candidate.removed_by.is_none());
    let (Some(winner), second) = (candidates.next(), candidates.next()) else { return String::new() };
    let name = &winner.endpoint;
    let Some(second) = second else {
        return format!("{name} is the only endpoint");
    };
    if second.terms.tier != winner.terms.tier {
        return format!("{name} is the only one that is {:?}, all others are worse", winner.terms.tier)
            .to_lowercase();
    }
    let total_ms = winner.total_us as f64 / 1e3;
    if second.total_us <= winner.total_us.saturating_add(settings.near_tie_us) {
        return format!("{name} at {total_ms:.1} ms was drawn among those as good as it");
    }
    let gain_ms = (second.total_us - winner.total_us) as f64 / 1e3;
    let runner_up = &second.endpoint;
    format!("{name} costs {total_ms:.1} ms, {gain_ms:.1} ms less than {runner_up}")
}

/// `candidates` are in order, the winner first.
fn why_weighted(candidates: &[Candidate], picker: Picker) -> String {
    let mut candidates = candidates.iter().filter(|candidate| candidate.removed_by.is_none());
    let (Some(winner), second) = (candidates.next(), candidates.next()) else { return String::new() };
    let (name, total) = (&winner.endpoint, winner.total.unwrap_or(0.0));
    let Some(second) = second else {
        return format!("{name} is the only endpoint that the filters left");
    };
    let (runner_up, second) = (&second.endpoint, second.total.unwrap_or(0.0));
    match picker {
        Picker::Random => format!("{name} was drawn among those that the filters left"),
        Picker::WeightedRandom => {
            format!("{name} was drawn, with a chance in proportion to its total {total:.4}")
        }
        Picker::MaxScore if second < total => {
            format!("{name} has the total {total:.4}, {:.4} more than {runner_up}", total - second)
        }
        Picker::MaxScore => format!("{name} was drawn among those with the total {total:.4}"),
    }
}
