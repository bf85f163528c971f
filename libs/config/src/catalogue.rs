//! Every plugin of the Go EPP by its name, and what becomes of it here.

use signalbox_document::similar;
use signalbox_schedule::{Filter, Picker, Role, Scorer};

use crate::findings::Findings;
use crate::plugin::Plugin;
use crate::{anyway, filters, scorers, sessions};

/// What becomes of a type of plugin.
#[derive(Clone, Copy)]
pub(crate) enum Fate {
    Filter(fn(&Plugin<'_>, &mut Findings) -> Filter),
    Scorer(fn(&Plugin<'_>, &mut Findings) -> Scorer),
    Picker(fn(&Plugin<'_>, &mut Findings) -> Picker),
    /// Done anyway, in the way that is told.
    Anyway(fn(&Plugin<'_>, &mut Findings), &'static str),
    /// It may be named as a parser, and takes no parameters.
    Parser,
    /// It comes with this.
    Later(&'static str),
    /// It is not planned, for this reason.
    Unplanned(&'static str),
}

const DISAGGREGATION: &str = "prefill/decode disaggregation";
const FLOW: &str = "flow control and priorities";
const LATENCY: &str = "predicted latency";
const EVENTS: &str = "KV-cache events";
const MULTIMODAL: &str = "encode disaggregation";
const ATTRIBUTES: &str = "endpoints have no attributes beyond their labels, adapters, queue and KV cache";
const CLUSTERS: &str = "a pool is within one cluster";
const TESTS: &str = "it serves the Go EPP's own tests";

/// The types, the ones that decide first.
pub(crate) const CATALOGUE: &[(&str, Fate)] = &[
    ("label-selector-filter", Fate::Filter(filters::label_selector)),
    ("by-label-selector", Fate::Filter(filters::label_selector)),
    ("by-label", Fate::Filter(filters::by_label)),
    ("decode-filter", Fate::Filter(|plugin, findings| role(plugin, findings, Role::Decode))),
    ("prefill-filter", Fate::Filter(|plugin, findings| role(plugin, findings, Role::Prefill))),
    ("encode-filter", Fate::Filter(|plugin, findings| role(plugin, findings, Role::Encode))),
    ("session-affinity-filter", Fate::Filter(sessions::filter)),
    ("utilization-filter", Fate::Filter(filters::utilization)),
    ("prefix-cache-affinity-filter", Fate::Filter(filters::prefix_cache_affinity)),
    ("utilization-detector", Fate::Filter(filters::utilization_detector)),
    ("concurrency-detector", Fate::Filter(filters::concurrency_detector)),
    ("queue-scorer", Fate::Scorer(scorers::queue)),
    ("running-requests-size-scorer", Fate::Scorer(scorers::running_requests)),
    ("kv-cache-utilization-scorer", Fate::Scorer(scorers::kv_cache_utilization)),
    ("load-aware-scorer", Fate::Scorer(scorers::load_aware)),
    ("lora-affinity-scorer", Fate::Scorer(scorers::lora_affinity)),
    ("prefix-cache-scorer", Fate::Scorer(scorers::prefix_cache)),
    ("active-request-scorer", Fate::Scorer(scorers::active_request)),
    ("token-load-scorer", Fate::Scorer(scorers::token_load)),
    ("no-hit-lru-scorer", Fate::Scorer(scorers::no_hit_lru)),
    ("session-affinity-scorer", Fate::Scorer(sessions::scorer)),
    ("max-score-picker", Fate::Picker(scorers::max_score)),
    ("random-picker", Fate::Picker(scorers::random)),
    ("weighted-random-picker", Fate::Picker(scorers::weighted_random)),
    ("single-profile-handler", Fate::Anyway(anyway::no_parameters, "there is one profile")),
    (
        "metrics-data-source",
        Fate::Anyway(anyway::metrics_source, "the collector reads each endpoint's metrics"),
    ),
    (
        "core-metrics-extractor",
        Fate::Anyway(anyway::metrics_extractor, "the collector reads each endpoint's metrics"),
    ),
    (
        "endpoint-notification-source",
        Fate::Anyway(anyway::no_parameters, "the pool's owner tells of endpoints that come and go"),
    ),
    (
        "approx-prefix-cache-producer",
        Fate::Anyway(
            anyway::approximate_prefixes,
            "the pool's index knows the prefixes: blocks of one size, the whole prompt, as much as each endpoint's cache holds",
        ),
    ),
    (
        "inflight-load-producer",
        Fate::Anyway(anyway::inflight_load, "bookings of all replicas are part of the pool's state"),
    ),
    ("token-producer", Fate::Anyway(anyway::tokens, "4 bytes of prompt count as one token")),
    ("tokenizer", Fate::Anyway(anyway::tokens, "4 bytes of prompt count as one token")),
    ("openai-parser", Fate::Parser),
    ("passthrough-parser", Fate::Parser),
    ("anthropic-parser", Fate::Parser),
    ("vllmhttp-parser", Fate::Parser),
    ("sglanghttp-parser", Fate::Parser),
    ("vertexai-parser", Fate::Parser),
    ("vllmgrpc-parser", Fate::Parser),
    ("disagg-profile-handler", Fate::Later(DISAGGREGATION)),
    ("pd-profile-handler", Fate::Later(DISAGGREGATION)),
    ("disagg-headers-handler", Fate::Later(DISAGGREGATION)),
    ("prefill-header-handler", Fate::Later(DISAGGREGATION)),
    ("always-disagg-pd-decider", Fate::Later(DISAGGREGATION)),
    ("prefix-based-pd-decider", Fate::Later(DISAGGREGATION)),
    ("p2p-source-producer", Fate::Later(DISAGGREGATION)),
    ("topology-affinity-filter", Fate::Later(DISAGGREGATION)),
    ("topology-affinity-scorer", Fate::Later(DISAGGREGATION)),
    ("topology-extractor", Fate::Later(DISAGGREGATION)),
    ("always-disagg-multimodal-decider", Fate::Later(MULTIMODAL)),
    ("mm-embeddings-cache-scorer", Fate::Later(MULTIMODAL)),
    ("mm-embeddings-cache-producer", Fate::Later(MULTIMODAL)),
    ("precise-prefix-cache-scorer", Fate::Later(EVENTS)),
    ("precise-prefix-cache-producer", Fate::Later(EVENTS)),
    ("predicted-latency-producer", Fate::Later(LATENCY)),
    ("latency-scorer", Fate::Later(LATENCY)),
    ("slo-headroom-tier-filter", Fate::Later(LATENCY)),
    ("latency-slo-admitter", Fate::Later(LATENCY)),
    ("probabilistic-admitter", Fate::Later(FLOW)),
    ("agent-identity", Fate::Later(FLOW)),
    ("global-strict-fairness-policy", Fate::Later(FLOW)),
    ("round-robin-fairness-policy", Fate::Later(FLOW)),
    ("program-aware-fairness", Fate::Later(FLOW)),
    ("fcfs-ordering-policy", Fate::Later(FLOW)),
    ("edf-ordering-policy", Fate::Later(FLOW)),
    ("slo-deadline-ordering-policy", Fate::Later(FLOW)),
    ("static-usage-limit-policy", Fate::Later(FLOW)),
    ("priority-holdback-policy", Fate::Later(FLOW)),
    ("soft-reflective-ceiling-policy", Fate::Later(FLOW)),
    ("sheddable-eviction-filter", Fate::Later(FLOW)),
    ("priority-then-time-eviction-order-policy", Fate::Later(FLOW)),
    ("k8s-notification-source", Fate::Later("Kubernetes discovery")),
    ("models-data-source", Fate::Unplanned("a request names its model")),
    ("models-data-extractor", Fate::Unplanned("a request names its model")),
    ("data-parallel-profile-handler", Fate::Unplanned("each rank is an endpoint of its own; list them so")),
    ("header-profile-handler", Fate::Unplanned("there is one profile for all requests")),
    ("session-id-producer", Fate::Unplanned("name the header in sessionIdConfig.sources instead")),
    ("burst-prefix-cache-producer", Fate::Unplanned("no request is held back to be placed with others")),
    (
        "context-length-aware",
        Fate::Unplanned("a label-selector-filter can set endpoints for long prompts apart"),
    ),
    ("header-label-affinity-scorer", Fate::Unplanned("session-affinity-scorer goes by headers")),
    ("endpoint-attribute-filter", Fate::Unplanned(ATTRIBUTES)),
    ("endpoint-attribute-scorer", Fate::Unplanned(ATTRIBUTES)),
    ("dcgm-data-source", Fate::Unplanned(ATTRIBUTES)),
    ("dcgm-extractor", Fate::Unplanned(ATTRIBUTES)),
    ("request-attribute-reporter", Fate::Unplanned("requests have no attributes to report")),
    ("disaggregatedset-rollout-screener", Fate::Unplanned("a label-selector-filter can keep one revision")),
    ("file-discovery", Fate::Unplanned("signalbox-aggregator --endpoints reads the endpoints")),
    ("multicluster-session-affinity-filter", Fate::Unplanned(CLUSTERS)),
    ("multicluster-queue-scorer", Fate::Unplanned(CLUSTERS)),
    ("multicluster-kv-cache-utilization-scorer", Fate::Unplanned(CLUSTERS)),
    ("multicluster-prefix-cache-scorer", Fate::Unplanned(CLUSTERS)),
    ("multicluster-approx-prefix-cache-producer", Fate::Unplanned(CLUSTERS)),
    ("header-based-testing-filter", Fate::Unplanned(TESTS)),
    ("destination-endpoint-served-verifier", Fate::Unplanned(TESTS)),
];

/// What becomes of the type called `kind`.
pub(crate) fn fate(kind: &str) -> Option<Fate> {
    CATALOGUE.iter().find(|(name, _)| *name == kind).map(|(_, fate)| *fate)
}

/// How to mend `kind`, which is no type.
pub(crate) fn mend(kind: &str) -> String {
    let all: Vec<_> = CATALOGUE.iter().map(|(name, _)| *name).collect();
    if let Some(similar) = similar(kind, &all) {
        return format!("did you mean \"{similar}\"?");
    }
    let decides = |fate: &Fate| matches!(fate, Fate::Filter(_) | Fate::Scorer(_) | Fate::Picker(_));
    let deciding: Vec<_> =
        CATALOGUE.iter().filter(|(_, fate)| decides(fate)).map(|(name, _)| *name).collect();
    format!("those that decide are: {}", deciding.join(", "))
}

fn role(plugin: &Plugin<'_>, findings: &mut Findings, role: Role) -> Filter {
    plugin.takes_none(findings);
    Filter::Role(role)
}
