//! The health of an endpoint, regardless of its load.

use signalbox_state::{Circuit, EndpointState, ScrapeStatus};
use signalbox_types::Origin;

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
    /// Returns the health of the endpoint at `position` for the request's model. An endpoint with
    /// a half-open circuit counts as failing or refusing unless this replica may send the probe, so that it is a single
    /// request.
    pub(crate) fn health(&self, position: usize) -> EndpointHealth {
        self.health_of(self.endpoint(position))
    }

    /// Does the same as [`Self::health`] for an endpoint that is at hand.
    pub(crate) fn health_of(&self, endpoint: &EndpointState) -> EndpointHealth {
        match (endpoint.observed.scrape_status, endpoint.assessment.circuit) {
            (ScrapeStatus::Down, _) => EndpointHealth::Down,
            _ if endpoint.observed.is_asleep => EndpointHealth::Asleep,
            (_, Circuit::Open) => EndpointHealth::Failing,
            (_, Circuit::HalfOpen(prober)) if !self.may_probe(endpoint, prober) => EndpointHealth::Failing,
            _ if self.is_refusing(endpoint) => EndpointHealth::Refusing,
            (ScrapeStatus::Stale, _) => EndpointHealth::Stale,
            (ScrapeStatus::Fresh | ScrapeStatus::Unknown, _) => EndpointHealth::Healthy,
        }
    }

    /// Returns whether a request at the endpoint at `position` would probe a half-open circuit.
    pub fn is_probe(&self, position: usize) -> bool {
        let endpoint = self.endpoint(position);
        let circuits = [endpoint.assessment.circuit, endpoint.assessment.circuit_of(&self.request.model)];
        circuits.iter().any(|circuit| match circuit {
            Circuit::HalfOpen(prober) => self.may_probe(endpoint, *prober),
            Circuit::Closed | Circuit::Open => false,
        })
    }

    /// Returns whether this replica may send the probe of a half-open circuit: the owner names one replica at a time,
    /// which sends one request.
    fn may_probe(&self, endpoint: &EndpointState, prober: Option<Origin>) -> bool {
        prober.is_none_or(|prober| prober == self.local.origin) && !self.local.probed.contains(&endpoint.key)
    }

    fn is_refusing(&self, endpoint: &EndpointState) -> bool {
        match endpoint.assessment.circuit_of(&self.request.model) {
            Circuit::Closed => false,
            Circuit::HalfOpen(prober) => !self.may_probe(endpoint, prober),
            Circuit::Open => true,
        }
    }
}
