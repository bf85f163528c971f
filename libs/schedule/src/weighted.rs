//! The weighted policy: filters, scorers and a picker, as people who come from the Go EPP have configured them.

mod affinity;
mod filter;
mod labels;
mod ledger;
mod limits;
mod picker;
mod scorer;
mod session;
mod slate;

use rand::Rng;
use serde::{Deserialize, Serialize};

pub use affinity::PrefixAffinity;
pub use filter::{Filter, Unlabelled};
pub use labels::{Must, ROLE_LABEL, Requirement, Role, Selector};
pub use ledger::Mark;
pub(crate) use ledger::{Entry, Ledger, Unwatched};
pub use limits::{Concurrency, Limit, Metric, Saturation, WhenNone};
pub use picker::Picker;
pub use scorer::Scorer;
pub use session::{SessionAffinity, session_token};

use crate::decide::Decision;
use crate::decision_inputs::{DecisionInputs, Standing};
use crate::least_time::{self, LeastTime};
use ledger::Witness;
use slate::Slate;

/// Filters in their order, then the sum of score × weight, then a picker.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Weighted {
    /// Who may serve a request, in the order in which they act.
    pub filters: Vec<FilterStep>,
    /// How good each of those who may is, in the order in which they act.
    pub scorers: Vec<ScorerStep>,
    /// How one is picked by its total.
    pub picker: Picker,
    /// By what the expected times are told that go with a decision; they do not count in it.
    pub expected: LeastTime,
}

/// A filter and its name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FilterStep {
    /// As it is called in explanations.
    pub name: String,
    /// What it does.
    pub filter: Filter,
}

/// A scorer, its name and its weight.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScorerStep {
    /// As it is called in explanations.
    pub name: String,
    /// What it does.
    pub scorer: Scorer,
    /// What its scores, cut to 0 to 1, are multiplied by.
    pub weight: f64,
}

impl Weighted {
    /// Picks the endpoint that shall serve the request, and tells `witness` how.
    ///
    /// Endpoints that are stale, failing or down are candidates only when the filters leave none of a better standing.
    pub(crate) fn decide(
        &self,
        inputs: &DecisionInputs<'_>,
        rng: &mut impl Rng,
        witness: &mut impl Witness,
    ) -> Decision {
        let mut slate = Slate::new(inputs);
        if slate.standings().iter().all(Option::is_none) {
            return Decision::NoEndpoint;
        }
        for standing in Standing::ALL {
            slate.fill(standing);
            self.filter(inputs, &mut slate, rng, witness);
            if !slate.positions.is_empty() {
                self.score(inputs, &mut slate, witness);
                let position = slate.positions[self.picker.pick(&slate.totals, rng)];
                let terms = least_time::terms(inputs, &self.expected, position);
                return Decision::Picked { position, terms };
            }
        }
        Decision::Filtered
    }

    fn filter(
        &self,
        inputs: &DecisionInputs<'_>,
        slate: &mut Slate,
        rng: &mut impl Rng,
        witness: &mut impl Witness,
    ) {
        for step in &self.filters {
            if slate.positions.is_empty() {
                return;
            }
            slate.kept.clear();
            step.filter.retain(inputs, rng, &slate.positions, &mut slate.kept);
            witness.filtered(step, &slate.positions, &slate.kept);
            std::mem::swap(&mut slate.positions, &mut slate.kept);
        }
    }

    fn score(&self, inputs: &DecisionInputs<'_>, slate: &mut Slate, witness: &mut impl Witness) {
        slate.totals.clear();
        slate.totals.resize(slate.positions.len(), 0.0);
        for step in &self.scorers {
            step.scorer.score(inputs, slate);
            witness.scored(step, &slate.positions, &slate.scores);
            for (total, score) in slate.totals.iter_mut().zip(&slate.scores) {
                *total += clamped(*score) * step.weight;
            }
        }
        witness.totalled(&slate.positions, &slate.totals);
    }

    /// The request headers that it reads, each once.
    pub(crate) fn request_headers(&self) -> Vec<&str> {
        let mut headers = Vec::new();
        for session in self.sessions() {
            match session {
                SessionAffinity::Token { header } => headers.push(header.as_str()),
                SessionAffinity::Id { headers: several } => {
                    headers.extend(several.iter().map(String::as_str));
                }
            }
        }
        headers.sort_unstable();
        headers.dedup();
        headers
    }

    /// The response header in which clients are told [`session_token`].
    pub(crate) fn session_header(&self) -> Option<&str> {
        self.sessions().find_map(|session| match session {
            SessionAffinity::Token { header } => Some(header.as_str()),
            SessionAffinity::Id { .. } => None,
        })
    }

    fn sessions(&self) -> impl Iterator<Item = &SessionAffinity> {
        let filters = self.filters.iter().filter_map(|step| match &step.filter {
            Filter::Session(session) => Some(session),
            _ => None,
        });
        let scorers = self.scorers.iter().filter_map(|step| match &step.scorer {
            Scorer::Session(session) => Some(session),
            _ => None,
        });
        filters.chain(scorers)
    }
}

/// Not a number is the worst, not the best.
fn clamped(score: f64) -> f64 {
    if score.is_nan() { 0.0 } else { score.clamp(0.0, 1.0) }
}
