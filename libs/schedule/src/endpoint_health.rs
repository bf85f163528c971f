//! The health of an endpoint, regardless of its load.

use signalbox_state::{Circuit, EndpointState, ScrapeStatus};

use crate::decision_inputs::DecisionInputs;

/// The health of an endpoint, regardless of its load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EndpointHealth {
    /// The endpoint's values are fresh, or it is so new that it was not scraped yet.
    Healthy,
    /// The endpoint's values are no longer fresh.
    Stale,
    /// The endpoint keeps refusing requests for this model.
    Refusing,
    /// Requests to the endpoint keep failing.
    Failing,
    /// The engine sleeps, and answers only after it has been woken up.
    Asleep,
    /// Nothing listens at the endpoint's address.
    Down,
}

impl EndpointHealth {
    /// All values, the best first.
    pub(crate) const ALL: [Self; 6] =
        [Self::Healthy, Self::Stale, Self::Refusing, Self::Failing, Self::Asleep, Self::Down];

    /// Returns whether requests to the endpoint are expected to succeed.
    pub(crate) const fn is_sound(self) -> bool {
        match self {
            Self::Healthy | Self::Stale => true,
            Self::Refusing | Self::Failing | Self::Asleep | Self::Down => false,
        }
    }

    /// Returns the name used in explanations.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Stale => "stale",
            Self::Refusing => "refusing",
            Self::Failing => "failing",
            Self::Asleep => "asleep",
            Self::Down => "down",
        }
    }
}

impl DecisionInputs<'_> {
    /// Returns the health of the endpoint at `position` for the request's model. A probed endpoint with a request
    /// in flight counts as failing, and one that this replica just probed with a request for the model as
    /// refusing, so that a probe is a single request.
    pub(crate) fn health(&self, position: usize) -> EndpointHealth {
        let endpoint = self.endpoint(position);
        match (endpoint.observed.scrape_status, endpoint.assessment.circuit) {
            (ScrapeStatus::Down, _) => EndpointHealth::Down,
            _ if endpoint.observed.is_asleep => EndpointHealth::Asleep,
            (_, Circuit::Open) => EndpointHealth::Failing,
            (_, Circuit::HalfOpen) if self.load(position).requests > 0 => EndpointHealth::Failing,
            _ if self.is_refusing(endpoint) => EndpointHealth::Refusing,
            (ScrapeStatus::Stale, _) => EndpointHealth::Stale,
            (ScrapeStatus::Fresh | ScrapeStatus::Unknown, _) => EndpointHealth::Healthy,
        }
    }

    fn is_refusing(&self, endpoint: &EndpointState) -> bool {
        match endpoint.assessment.circuit_of(&self.request.model) {
            Circuit::Closed => false,
            Circuit::HalfOpen => self.local.probed.contains(&endpoint.key),
            Circuit::Open => true,
        }
    }
}
