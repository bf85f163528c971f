//! Counts the requests whose prompt or model could not be read.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use signalbox_intake::Unread;

/// Why a prompt could not be read, or that there was no model.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

/// Counts requests by what could not be read of them.
#[derive(Debug, Default)]
pub(crate) struct UnreadPrompts(Family<ReasonLabel, Counter>);

impl UnreadPrompts {
    pub(super) fn register(&self, registry: &mut Registry) {
        // So that a rate can be computed from the first one on.
        Unread::ALL.iter().for_each(|unread| drop(self.counter(*unread)));
        registry.register(
            "unread_prompts",
            "Requests whose prompt could not be read, so that they were routed by load, or that named no model; by reason",
            self.0.clone(),
        );
    }

    /// Counts a request.
    pub(crate) fn count(&self, unread: Unread) {
        self.counter(unread).inc();
    }

    fn counter(&self, unread: Unread) -> Counter {
        self.0.get_or_create(&ReasonLabel { reason: unread.name() }).clone()
    }
}
