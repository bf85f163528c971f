//! The weighted policy: filters, scorers and a picker, configured as in the Go EPP.

mod candidate_table;
mod decision_trace;
mod filters;
mod metric;
mod picker;
mod scorers;
mod session_affinity;

use rand::Rng;
use serde::{Deserialize, Serialize};

pub use decision_trace::ScoreTrace;
pub(crate) use decision_trace::{DecisionTrace, EndpointTrace, NoTrace, TierTotals};
pub use filters::{
    Concurrency, Fallback, Filter, LabelOperator, LabelRequirement, LabelSelector, Limit, PrefixAffinity,
    ROLE_LABEL, Role, Saturation, Unlabeled,
};
pub use metric::Metric;
pub use picker::Picker;
pub use scorers::Scorer;
pub use session_affinity::{SessionAffinity, session_token};

use crate::decision::Decision;
use crate::decision_inputs::DecisionInputs;
use crate::endpoint_health::EndpointHealth;
use crate::least_time::{LeastTime, cost_terms};
use candidate_table::CandidateTable;
use decision_trace::TraceSink;

/// Applies the filters in order, sums score × weight over all scorers, and picks a candidate by its total.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Weighted {
    /// Filters, in the order in which they are applied.
    pub filters: Vec<FilterStep>,
    /// Scorers, in the order in which they are applied.
    pub scorers: Vec<ScorerStep>,
    /// How a candidate is picked by its total.
    pub picker: Picker,
    /// Settings of the expected cost that a decision reports; it does not affect the choice.
    pub cost_settings: LeastTime,
}

/// A filter with its name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FilterStep {
    /// Name of the filter in explanations.
    pub name: String,
    /// The filter.
    pub filter: Filter,
}

/// A scorer with its name and weight.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScorerStep {
    /// Name of the scorer in explanations.
    pub name: String,
    /// The scorer.
    pub scorer: Scorer,
    /// Factor for the scores, after they are clamped to 0 to 1.
    pub weight: f64,
}

impl Weighted {
    /// Chooses the endpoint that serves the request, and records the steps in `trace`.
    ///
    /// Endpoints of worse health are candidates only if the filters remove all endpoints of better health. If
    /// that is because sound endpoints are at capacity, unsound ones do not take their place: a request that
    /// fails there is worse than one that is refused.
    pub(crate) fn decide(
        &self,
        inputs: &DecisionInputs<'_>,
        rng: &mut impl Rng,
        trace: &mut impl TraceSink,
    ) -> Decision {
        let mut table = CandidateTable::new(inputs);
        if table.health().iter().all(Option::is_none) {
            return Decision::NoEndpoint;
        }
        let mut is_at_capacity = false;
        for health in EndpointHealth::ALL {
            if is_at_capacity && !health.is_sound() {
                break;
            }
            table.select(health);
            apply(&self.filters, inputs, &mut table, rng, trace);
            if !table.positions.is_empty() {
                self.score(inputs, &mut table, trace);
                let position = table.positions[self.picker.pick(&table.totals, rng)];
                let terms = cost_terms(inputs, &self.cost_settings, (position, inputs.endpoint(position)));
                return Decision::Picked { position, terms };
            }
            is_at_capacity |= self.has_other_candidates(inputs, &mut table, health, rng);
        }
        Decision::Filtered
    }

    /// Returns whether endpoints of this health pass all filters except those for capacity. Leaves them in
    /// `table`.
    fn has_other_candidates(
        &self,
        inputs: &DecisionInputs<'_>,
        table: &mut CandidateTable,
        health: EndpointHealth,
        rng: &mut impl Rng,
    ) -> bool {
        if !self.filters.iter().any(|step| step.filter.limits_load()) {
            return false;
        }
        table.select(health);
        let others = self.filters.iter().filter(|step| !step.filter.limits_load());
        apply(others, inputs, table, rng, &mut NoTrace);
        !table.positions.is_empty()
    }

    fn score(&self, inputs: &DecisionInputs<'_>, table: &mut CandidateTable, trace: &mut impl TraceSink) {
        table.totals.clear();
        table.totals.resize(table.positions.len(), 0.0);
        for step in &self.scorers {
            step.scorer.score(inputs, table);
            trace.record_scores(step, &table.positions, &table.scores);
            for (total, score) in table.totals.iter_mut().zip(&table.scores) {
                *total += clamped(*score) * step.weight;
            }
        }
        trace.record_totals(&table.positions, &table.totals);
    }

    /// Returns the names of the request headers that the policy reads, without duplicates.
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

    /// Returns the response header that carries the [`session_token`].
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

/// Removes the candidates that one of `steps` does not keep.
fn apply<'a>(
    steps: impl IntoIterator<Item = &'a FilterStep>,
    inputs: &DecisionInputs<'_>,
    table: &mut CandidateTable,
    rng: &mut impl Rng,
    trace: &mut impl TraceSink,
) {
    for step in steps {
        if table.positions.is_empty() {
            return;
        }
        table.kept.clear();
        step.filter.retain(inputs, rng, &table.positions, &mut table.kept);
        trace.record_filter(step, &table.positions, &table.kept);
        std::mem::swap(&mut table.positions, &mut table.kept);
    }
}

/// Clamps a score to 0 to 1. NaN becomes 0, the worst score.
fn clamped(score: f64) -> f64 {
    if score.is_nan() { 0.0 } else { score.clamp(0.0, 1.0) }
}
