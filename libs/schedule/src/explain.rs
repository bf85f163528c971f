//! A decision in words and numbers.

use rand::SeedableRng;
use rand::rngs::SmallRng;
use serde::Serialize;
use signalbox_types::Request;

use crate::decide::{Candidates, Decision};
use crate::ground::Ground;
use crate::least_time::{LeastTime, Terms};
use crate::policy::Policy;

/// One endpoint and its terms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Candidate {
    /// Its name.
    pub endpoint: String,
    /// Where requests for it go.
    pub address: String,
    /// What serving the request there costs.
    #[serde(flatten)]
    pub terms: Terms,
    /// The whole expected time, in microseconds.
    pub total_us: u64,
}

/// Why a request goes where it goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
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
pub fn explain(ground: &Ground<'_>, policy: &Policy, (now_ms, seed): (u64, u64)) -> Explanation {
    let Ground { view, request, .. } = *ground;
    let Policy::LeastTime(settings) = policy;
    let assessed = Candidates::assess(ground, settings);
    let decision = assessed.pick(settings, &mut SmallRng::seed_from_u64(seed));
    let winner = match decision {
        Decision::Picked { position, .. } => Some(view.members[position].spec.name.clone()),
        Decision::NoEndpoint => None,
    };
    let named = view.members.iter().zip(assessed.terms());
    let mut candidates: Vec<_> = named
        .map(|(member, terms)| Candidate {
            endpoint: member.spec.name.clone(),
            address: member.spec.address.to_string(),
            terms: *terms,
            total_us: terms.total_us(),
        })
        .collect();
    candidates.sort_by_key(|candidate| {
        let is_winner = winner.as_ref() == Some(&candidate.endpoint);
        (!is_winner, candidate.terms.tier, candidate.total_us, candidate.endpoint.clone())
    });
    Explanation {
        version: view.version.map(|version| version.to_string()),
        view_age_ms: view.age_ms(now_ms),
        seed,
        request: request.clone(),
        why: why(&candidates, settings),
        winner,
        candidates,
    }
}

/// `candidates` are in order, the winner first.
fn why(candidates: &[Candidate], settings: &LeastTime) -> String {
    let Some((winner, others)) = candidates.split_first() else {
        return "the pool has no endpoint".to_owned();
    };
    let name = &winner.endpoint;
    let Some(second) = others.first() else {
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
    format!("{name} is expected to take {total_ms:.1} ms, {gain_ms:.1} ms less than {runner_up}")
}
