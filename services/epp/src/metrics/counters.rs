//! The counters, histograms and event-driven gauges of one pool.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use signalbox_extproc::Refusal;
use signalbox_intake::response::Usage;
use signalbox_schedule::CostTerms;
use signalbox_state::Digest;
use signalbox_types::Request;

use super::access_log_entries::AccessLogEntries;
use super::go_epp::RequestMetrics;
use super::histograms::{CachedTokensError, FirstByteHistogram};
use super::unread_prompts::UnreadPrompts;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct CodeLabel {
    code: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

/// The metrics of one pool that change with events. `admin` exports the gauges that are read on each scrape.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    pub(crate) requests: RequestMetrics,
    pub(crate) open_streams: Gauge,
    decisions: Counter,
    pub(crate) requests_without_endpoint: Counter,
    prompt_tokens: Counter,
    matched_prompt_tokens: Counter,
    refused_requests: Family<CodeLabel, Counter>,
    pub(crate) unread_prompts: UnreadPrompts,
    pub(crate) detached_bookings: Counter,
    pub(crate) detached_bookings_expired: Counter,
    pub(crate) detached_bookings_dropped: Counter,
    pub(crate) requests_served_elsewhere: Counter,
    pub(crate) access_log_entries: AccessLogEntries,
    pub(crate) access_log_first_byte: FirstByteHistogram,
    ignored_request_headers: Counter,
    stored_response_requests: Family<KindLabel, Counter>,
    pub(crate) caught_panics: Counter,
    reported_prompt_tokens: Counter,
    reported_cached_tokens: Counter,
    reported_output_tokens: Counter,
    cached_tokens_error: CachedTokensError,
    pub(crate) placements_dropped: Counter,
    pub(crate) placements_expired: Counter,
    pub(crate) port_failures: Counter,
    frame_gaps: Family<KindLabel, Counter>,
    pub(crate) connected_aggregators: Gauge<u64, AtomicU64>,
    pub(crate) origin_renewals: Counter,
    pub(crate) snapshots_applied: Counter,
    pub(crate) views_published: Counter,
    divergences: Counter,
    /// Checksums over the state at the version of the view, by kind.
    view_digest: Family<KindLabel, Gauge<u64, AtomicU64>>,
}

impl Metrics {
    /// Registers all metrics at `registry`, except `requests`, which have names of their own.
    pub(crate) fn register(registry: &mut Registry, requests: RequestMetrics) -> Self {
        let metrics = Self { requests, ..Self::default() };
        for (name, help, counter) in metrics.request_counters().into_iter().chain(metrics.state_counters()) {
            registry.register(name, help, counter.clone());
        }
        registry.register(
            "view_digest",
            "Checksum over the pool state at the view's version, modulo 2^53, by kind; equal on all replicas with the same version",
            metrics.view_digest.clone(),
        );
        registry.register("open_streams", "Open ext-proc streams", metrics.open_streams.clone());
        registry.register(
            "refused_requests",
            "Requests that the picker refused with an error response, by error code",
            metrics.refused_requests.clone(),
        );
        metrics.unread_prompts.register(registry);
        metrics.access_log_entries.register(registry);
        registry.register(
            "access_log_first_byte_seconds",
            "Time from a request to its response headers, as the access log reports it",
            metrics.access_log_first_byte.0.clone(),
        );
        registry.register(
            "cached_tokens_error",
            "Predicted minus reported cached tokens of a prompt; negative if the endpoint held more than predicted",
            metrics.cached_tokens_error.0.clone(),
        );
        registry.register(
            "stored_response_requests",
            "Requests that name an earlier response, by what is known of it: found, unavailable or unknown",
            metrics.stored_response_requests.clone(),
        );
        registry.register(
            "frame_gaps",
            "Frames from aggregators that could not be applied, by kind of gap",
            metrics.frame_gaps.clone(),
        );
        registry.register(
            "connected_aggregators",
            "Aggregators with an open stream to this replica on which a message has arrived",
            metrics.connected_aggregators.clone(),
        );
        metrics
    }

    /// Returns the name, help text and counter of everything that is counted per request.
    fn request_counters(&self) -> [(&'static str, &'static str, &Counter); 13] {
        [
            ("decisions", "Requests for which an endpoint was picked", &self.decisions),
            (
                "requests_without_endpoint",
                "Requests for which the pool had no endpoint that the gateway allows",
                &self.requests_without_endpoint,
            ),
            (
                "prompt_tokens",
                "Prompt tokens of requests for which an endpoint was picked",
                &self.prompt_tokens,
            ),
            (
                "matched_prompt_tokens",
                "Prompt tokens that the picked endpoint already held in its cache",
                &self.matched_prompt_tokens,
            ),
            (
                "detached_bookings",
                "Bookings that outlived their ext-proc stream because the gateway hides the end of the response",
                &self.detached_bookings,
            ),
            (
                "detached_bookings_expired",
                "Detached bookings that expired because no access log reported the end of the request in time",
                &self.detached_bookings_expired,
            ),
            (
                "detached_bookings_dropped",
                "Detached bookings that were dropped because too many were detached after them",
                &self.detached_bookings_dropped,
            ),
            (
                "requests_served_elsewhere",
                "Requests that the gateway sent to another endpoint than the picked one",
                &self.requests_served_elsewhere,
            ),
            (
                "ignored_request_headers",
                "Request headers for the picker that were ignored because their values are invalid",
                &self.ignored_request_headers,
            ),
            (
                "caught_panics",
                "Panics that were caught while handling requests; each is a bug",
                &self.caught_panics,
            ),
            (
                "reported_prompt_tokens",
                "Prompt tokens that model servers report with their responses",
                &self.reported_prompt_tokens,
            ),
            (
                "reported_cached_tokens",
                "Cached prompt tokens that model servers report with their responses",
                &self.reported_cached_tokens,
            ),
            (
                "reported_output_tokens",
                "Output tokens that model servers report with their responses",
                &self.reported_output_tokens,
            ),
        ]
    }

    /// Returns the name, help text and counter of everything that is counted about the shared state.
    fn state_counters(&self) -> [(&'static str, &'static str, &Counter); 7] {
        [
            (
                "placements_dropped",
                "Placements that were not reported to the owner because the queue was full",
                &self.placements_dropped,
            ),
            (
                "placements_expired",
                "Placements that the pool's owner did not acknowledge in time",
                &self.placements_expired,
            ),
            ("port_failures", "Failed attempts to open the pool's port for gateways", &self.port_failures),
            (
                "divergences",
                "Times that the state differed from the owner's at the same version",
                &self.divergences,
            ),
            (
                "origin_renewals",
                "Times that the replica took a new origin because the pool had dropped the previous one",
                &self.origin_renewals,
            ),
            (
                "snapshots_applied",
                "Snapshots that were applied: one at the start, others after the replica fell too far behind or diverged",
                &self.snapshots_applied,
            ),
            ("views_published", "Views of the state that were published to decisions", &self.views_published),
        ]
    }

    /// Counts a request for which an endpoint was picked.
    pub(crate) fn count_decision(&self, request: &Request, terms: &CostTerms) {
        self.decisions.inc();
        self.prompt_tokens.inc_by(request.prompt_tokens);
        self.matched_prompt_tokens.inc_by(terms.cached_tokens);
    }

    /// Counts invalid headers of a request.
    pub(crate) fn count_ignored_headers(&self, headers: u32) {
        self.ignored_request_headers.inc_by(headers.into());
    }

    /// Counts a request that names an earlier response, by what is known of it.
    pub(crate) fn count_stored_response_request(&self, kind: &'static str) {
        self.stored_response_requests.get_or_create(&KindLabel { kind }).inc();
    }

    /// Counts the tokens that a response reports.
    pub(crate) fn count_usage(&self, usage: &Usage) {
        self.reported_prompt_tokens.inc_by(usage.prompt_tokens.unwrap_or(0));
        self.reported_cached_tokens.inc_by(usage.cached_tokens.unwrap_or(0));
        self.reported_output_tokens.inc_by(usage.completion_tokens.unwrap_or(0));
    }

    /// Records the cached tokens that were predicted for a prompt and those that the model server reports.
    pub(crate) fn observe_cached_tokens(&self, predicted: u64, reported: u64) {
        self.cached_tokens_error.observe(predicted, reported);
    }

    /// Counts a refused request.
    pub(crate) fn count_refusal(&self, refusal: &Refusal) {
        self.refused_requests.get_or_create(&CodeLabel { code: refusal.code() }).inc();
    }

    /// Sets the digest of the view.
    pub(crate) fn set_view_digest(&self, digest: &Digest) {
        for (kind, sum) in digest.gauge_values() {
            self.view_digest.get_or_create(&KindLabel { kind }).set(sum);
        }
    }

    /// Counts a divergence from the owner's state.
    pub(crate) fn count_divergence(&self) {
        self.divergences.inc();
    }

    /// Counts a frame that could not be applied.
    pub(crate) fn count_frame_gap(&self, kind: &'static str) {
        self.frame_gaps.get_or_create(&KindLabel { kind }).inc();
    }

    /// Returns the number of requests for which an endpoint was picked.
    pub(crate) fn decisions(&self) -> u64 {
        self.decisions.get()
    }

    /// Returns the prompt tokens of requests for which an endpoint was picked, and how many of them that
    /// endpoint held.
    pub(crate) fn prompt_tokens(&self) -> (u64, u64) {
        (self.prompt_tokens.get(), self.matched_prompt_tokens.get())
    }
}
