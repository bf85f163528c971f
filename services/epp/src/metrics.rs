//! What an EPP replica exports.

mod bounded;
mod shared;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use signalbox_extproc::Refusal;
use signalbox_intake::answer::Usage;
use signalbox_schedule::Terms;
use signalbox_state::{Digest, PeerLoad, ScrapeStatus};
use signalbox_types::Request;

use crate::picker::Picker;

pub(crate) use shared::{Over, PoolLevels, Requests};

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct CodeLabel {
    code: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

/// Times to the head of a response, in seconds.
#[derive(Debug)]
pub(crate) struct FirstByte(Histogram);

impl Default for FirstByte {
    /// From 10 ms to 82 s.
    fn default() -> Self {
        Self(Histogram::new(exponential_buckets(0.01, 2.0, 14)))
    }
}

impl FirstByte {
    pub(crate) fn saw(&self, time: Duration) {
        self.0.observe(time.as_secs_f64());
    }
}

/// What an EPP replica counts. What it merely holds is read off it by [`Levels`].
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    pub(crate) requests: Requests,
    pub(crate) streams: Gauge,
    decisions: Counter,
    pub(crate) no_endpoint: Counter,
    prompt_tokens: Counter,
    matched_tokens: Counter,
    refusals: Family<CodeLabel, Counter>,
    pub(crate) bookings_held: Counter,
    pub(crate) bookings_expired: Counter,
    pub(crate) served_elsewhere: Counter,
    logged: Family<OutcomeLabel, Counter>,
    pub(crate) first_byte: FirstByte,
    ignored_controls: Counter,
    pub(crate) panics: Counter,
    answered_prompt_tokens: Counter,
    answered_cached_tokens: Counter,
    answered_output_tokens: Counter,
    pub(crate) placements_dropped: Counter,
    pub(crate) placements_expired: Counter,
    gaps: Family<KindLabel, Counter>,
    pub(crate) connected: Gauge<u64, AtomicU64>,
    pub(crate) rebirths: Counter,
    pub(crate) snapshots: Counter,
    divergences: Counter,
    /// Sums over the state at the version of the view, by kind.
    digest: Family<KindLabel, Gauge<u64, AtomicU64>>,
}

impl Metrics {
    /// Metrics that `registry` shows, besides `requests`, which it does not name.
    pub(crate) fn register(registry: &mut Registry, requests: Requests) -> Self {
        let metrics = Self { requests, ..Self::default() };
        let counters = [
            ("decisions", "Requests for which an endpoint was picked", &metrics.decisions),
            ("no_endpoint", "Requests for which the pool had no endpoint", &metrics.no_endpoint),
            ("prompt_tokens", "Tokens of the prompts that were picked for", &metrics.prompt_tokens),
            ("matched_tokens", "Tokens of those that the picked endpoint held", &metrics.matched_tokens),
            (
                "bookings_held",
                "Bookings that outlasted their stream, because the gateway hides the end of the response",
                &metrics.bookings_held,
            ),
            (
                "bookings_expired",
                "Held bookings that went because nobody told of the request's end in time",
                &metrics.bookings_expired,
            ),
            (
                "served_elsewhere",
                "Requests that another endpoint served than the one that was picked",
                &metrics.served_elsewhere,
            ),
            (
                "placements_dropped",
                "Placements that were not reported, because too many waited",
                &metrics.placements_dropped,
            ),
            (
                "placements_expired",
                "Placements that the pool did not echo in time",
                &metrics.placements_expired,
            ),
            (
                "divergences",
                "Times that the state was not the owner's at the same version",
                &metrics.divergences,
            ),
            (
                "ignored_controls",
                "Headers by which requests steer whose values make no sense",
                &metrics.ignored_controls,
            ),
            ("panics", "Faults of this process that did not cost a request its answer", &metrics.panics),
            (
                "answered_prompt_tokens",
                "Tokens of prompts, as model servers tell with their answers",
                &metrics.answered_prompt_tokens,
            ),
            (
                "answered_cached_tokens",
                "Tokens of those that were in their caches, as they tell",
                &metrics.answered_cached_tokens,
            ),
            (
                "answered_output_tokens",
                "Tokens of answers, as model servers tell",
                &metrics.answered_output_tokens,
            ),
            ("rebirths", "Times that the pool had given this replica up", &metrics.rebirths),
            (
                "snapshots",
                "Snapshots taken; one to begin with, further ones when it fell too far behind",
                &metrics.snapshots,
            ),
        ];
        for (name, help, counter) in counters {
            registry.register(name, help, counter.clone());
        }
        registry.register(
            "view_digest",
            "Sum over the state at the view's version, modulo 2^53, by kind; equal wherever the version is",
            metrics.digest.clone(),
        );
        registry.register("streams", "Open ext-proc streams", metrics.streams.clone());
        registry.register("refusals", "Requests that were answered here, by code", metrics.refusals.clone());
        registry.register(
            "access_log_entries",
            "Entries of gateways' access logs, and ends of own requests that others passed on, by outcome",
            metrics.logged.clone(),
        );
        registry.register(
            "logged_first_byte_seconds",
            "Time to the head of a response, as the access log tells it",
            metrics.first_byte.0.clone(),
        );
        registry.register("gaps", "Frames that could not be taken, by kind", metrics.gaps.clone());
        registry.register("connected", "Aggregators to which there is a stream", metrics.connected.clone());
        metrics
    }

    pub(crate) fn picked(&self, request: &Request, terms: &Terms) {
        self.decisions.inc();
        self.prompt_tokens.inc_by(request.prompt_tokens);
        self.matched_tokens.inc_by(terms.cached_tokens);
    }

    /// So many headers of a request make no sense.
    pub(crate) fn ignored(&self, controls: u32) {
        self.ignored_controls.inc_by(controls.into());
    }

    /// A fault was caught.
    pub(crate) fn panicked(&self) {
        self.panics.inc();
    }

    /// An answer says what it took.
    pub(crate) fn used(&self, usage: &Usage) {
        self.answered_prompt_tokens.inc_by(usage.prompt_tokens.unwrap_or(0));
        self.answered_cached_tokens.inc_by(usage.cached_tokens.unwrap_or(0));
        self.answered_output_tokens.inc_by(usage.completion_tokens.unwrap_or(0));
    }

    pub(crate) fn refused(&self, refusal: &Refusal) {
        self.refusals.get_or_create(&CodeLabel { code: refusal.code() }).inc();
    }

    /// An entry of an access log was read, with this outcome.
    pub(crate) fn logged(&self, outcome: &'static str) {
        self.logged.get_or_create(&OutcomeLabel { outcome }).inc();
    }

    /// The state is this one now.
    pub(crate) fn digest(&self, digest: &Digest) {
        for (kind, sum) in digest.shown() {
            self.digest.get_or_create(&KindLabel { kind }).set(sum);
        }
    }

    /// The state is not the owner's.
    pub(crate) fn diverged(&self) {
        self.divergences.inc();
    }

    pub(crate) fn gap(&self, kind: &'static str) {
        self.gaps.get_or_create(&KindLabel { kind }).inc();
    }

    /// Requests for which an endpoint was picked.
    pub(crate) fn decisions(&self) -> u64 {
        self.decisions.get()
    }

    /// Tokens of the prompts that were picked for, and how many of them the picked endpoint held.
    pub(crate) fn tokens(&self) -> (u64, u64) {
        (self.prompt_tokens.get(), self.matched_tokens.get())
    }
}

/// What a replica holds at the moment it is asked.
#[derive(Debug)]
pub(crate) struct Levels(pub(crate) Arc<Picker>);

impl Levels {
    fn read(&self) -> Vec<(&'static str, &'static str, u64)> {
        let picker = &self.0;
        let snapshot = picker.snapshot.load();
        let view = &snapshot.view;
        let version = view.version.unwrap_or_default();
        let own = picker.bookings.whole();
        let own_requests = own.iter().map(|(_, load)| u64::from(load.requests)).sum();
        let others = match picker.others(view) {
            PeerLoad::Outdated => 0,
            PeerLoad::Current => {
                let loads = view.endpoints.iter().map(|member| member.load_without(picker.origin()).requests);
                loads.map(u64::from).sum()
            }
        };
        let unbooked_requests =
            view.endpoints.iter().map(|member| u64::from(member.observed.unbooked_requests)).sum();
        let fresh = view
            .endpoints
            .iter()
            .filter(|member| member.observed.scrape_status == ScrapeStatus::Fresh)
            .count() as u64;
        vec![
            ("own_in_flight_requests", "Requests that this replica has booked", own_requests),
            ("others_in_flight_requests", "Requests that other replicas have booked", others),
            ("foreign_requests", "Requests at the endpoints that no replica has booked", unbooked_requests),
            ("buffered_bytes", "Bytes of requests' bodies that are held", picker.buffered_bytes()),
            ("endpoints", "Endpoints in the view", view.endpoints.len() as u64),
            ("fresh_endpoints", "Endpoints whose values are fresh", fresh),
            (
                "degraded",
                "1 when no owner of the pool was heard for the origin TTL: decisions go by what this replica alone knows",
                u64::from(picker.is_degraded()),
            ),
            ("epoch", "The highest epoch of the pool that is known here", picker.epoch()),
            ("view_epoch", "Epoch of the view", version.epoch),
            ("view_seq", "Number of changes in the view", version.seq),
            (
                "overlay_placements",
                "Placements that the pool has not echoed yet",
                picker.overlay.len() as u64,
            ),
            ("index_blocks", "Distinct blocks of prompt held by any endpoint", view.index.len() as u64),
        ]
    }
}

impl Collector for Levels {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let age_ms = self.0.snapshot.load().view.age_ms(self.0.now_ms());
        let levels = self.read().into_iter().map(|(name, help, value)| (name, help, value as f64));
        let age = ("view_age_seconds", "Time since the aggregator was last heard", age_ms as f64 / 1e3);
        for (name, help, value) in levels.chain([age]) {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}
