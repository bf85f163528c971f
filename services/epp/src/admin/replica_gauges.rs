//! Gauges of this replica about one pool, read on each scrape.

use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;
use signalbox_state::{PeerLoad, ScrapeStatus};

use crate::deciding::picker::Picker;

/// Exports the replica's gauges about one pool, read from the picker on each scrape.
#[derive(Debug)]
pub(crate) struct ReplicaGauges(pub(crate) Arc<Picker>);

impl ReplicaGauges {
    /// Returns the name, help text and value of each gauge.
    fn read(&self) -> Vec<(&'static str, &'static str, u64)> {
        let picker = &self.0;
        let snapshot = picker.snapshot.load();
        let view = &snapshot.view;
        let version = view.version.unwrap_or_default();
        let own = picker.bookings.loads();
        let own_requests = own.iter().map(|(_, load)| u64::from(load.requests)).sum();
        let peer_requests = match picker.peer_load() {
            PeerLoad::Outdated => 0,
            PeerLoad::Current => {
                view.booked_without(picker.origin()).iter().map(|load| u64::from(load.requests)).sum()
            }
        };
        let unbooked_requests =
            view.endpoints.iter().map(|member| u64::from(member.observed.unbooked_requests)).sum();
        let serving = || view.endpoints.iter().filter(|member| !member.spec.is_draining);
        let endpoints = serving().count() as u64;
        let fresh =
            serving().filter(|member| member.observed.scrape_status == ScrapeStatus::Fresh).count() as u64;
        vec![
            ("own_in_flight_requests", "Requests in flight that this replica has booked", own_requests),
            ("peer_in_flight_requests", "Requests in flight that other replicas have booked", peer_requests),
            (
                "unbooked_requests",
                "Requests at the endpoints that no replica has booked: traffic that bypasses the picker",
                unbooked_requests,
            ),
            ("endpoints", "Endpoints in the pool that take new requests", endpoints),
            ("fresh_endpoints", "Endpoints that take new requests and whose scraped values are fresh", fresh),
            (
                "draining_endpoints",
                "Endpoints that take no new requests because they are about to be removed",
                view.endpoints.len() as u64 - endpoints,
            ),
            (
                "degraded",
                "1 if this replica has heard from no owner for the origin TTL, so that decisions use only this replica's own bookings; otherwise 0",
                u64::from(picker.is_degraded()),
            ),
            ("epoch", "Highest epoch of the pool that this replica knows", picker.epoch()),
            ("view_epoch", "Epoch of this replica's view of the pool", version.epoch),
            ("view_seq", "Number of the latest change in this replica's view of the pool", version.seq),
            (
                "unacknowledged_placements",
                "Placements of this replica that the pool's owner has not acknowledged yet",
                picker.overlay.len() as u64,
            ),
            (
                "index_blocks",
                "Distinct prompt blocks in the prefix index, held by at least one endpoint",
                view.index.len() as u64,
            ),
        ]
    }
}

impl Collector for ReplicaGauges {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let age_ms = self.0.view_age_ms();
        let gauges = self.read().into_iter().map(|(name, help, value)| (name, help, value as f64));
        let age = (
            "view_age_seconds",
            "Time since the view was last confirmed by an aggregator",
            age_ms as f64 / 1e3,
        );
        for (name, help, value) in gauges.chain([age]) {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}
