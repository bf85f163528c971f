//! Registers the metrics of the streams.

use prometheus_client::registry::Registry;

use super::Metrics;

impl Metrics {
    pub(super) fn register_streams(&self, registry: &mut Registry) {
        registry.register(
            "connected_followers",
            "Connected followers: replicas and other aggregators",
            self.connected_followers.clone(),
        );
        registry.register("connected_collectors", "Connected collectors", self.connected_collectors.clone());
        registry.register(
            "request_ends_relayed",
            "Ends of requests received for relay to the replica that booked the request",
            self.request_ends_relayed.clone(),
        );
        registry.register(
            "request_ends_undelivered",
            "Relayed ends of requests whose replica was not connected or did not read them",
            self.request_ends_undelivered.clone(),
        );
        registry.register(
            "invalid_messages",
            "Messages that could not be decoded, for example from another protocol version; their stream is closed",
            self.invalid_messages.clone(),
        );
    }

    pub(super) fn register_refusals(&self, registry: &mut Registry) {
        registry.register(
            "refused_streams",
            "Streams that were closed because the process may not open them, or sent feedback of another's origin",
            self.refused_streams.clone(),
        );
        registry.register(
            "followers_dropped",
            "Followers that took no messages for too long",
            self.followers_dropped.clone(),
        );
    }
}
