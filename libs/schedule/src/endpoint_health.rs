//! The health of an endpoint, regardless of its load.

use signalbox_state::{Circuit, ScrapeStatus};

use crate::decision_inputs::DecisionInputs;

/// The health of an endpoint, regardless of its load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EndpointHealth {
    /// The endpoint's values are fresh, or it is so new that it was not scraped yet.
    Healthy,
    /// The endpoint's values are no longer fresh.
    Stale,
    /// Requests to the endpoint keep failing.
    Failing,
    /// Nothing listens at the endpoint's address.
    Down,
}

impl EndpointHealth {
    /// All values, the best first.
    pub(crate) const ALL: [Self; 4] = [Self::Healthy, Self::Stale, Self::Failing, Self::Down];

    /// Returns the name used in explanations.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Stale => "stale",
            Self::Failing => "failing",
            Self::Down => "down",
        }
    }
}

impl DecisionInputs<'_> {
    /// Returns the health of the endpoint at `position`. A probed endpoint with a request in flight counts as
    /// failing, so that a probe is a single request.
    pub(crate) fn health(&self, position: usize) -> EndpointHealth {
        let endpoint = self.endpoint(position);
        match (endpoint.observed.scrape_status, endpoint.assessment.circuit) {
            (ScrapeStatus::Down, _) => EndpointHealth::Down,
            (_, Circuit::Open) => EndpointHealth::Failing,
            (_, Circuit::HalfOpen) if self.load(position).requests > 0 => EndpointHealth::Failing,
            (ScrapeStatus::Stale, _) => EndpointHealth::Stale,
            (ScrapeStatus::Fresh | ScrapeStatus::Unknown, _) => EndpointHealth::Healthy,
        }
    }
}
