//! Every plugin type of the Go EPP, and how Signalbox treats it; and Signalbox's own ones.

use signalbox_document::closest_match;
use signalbox_schedule::{Filter, Picker, Role, Scorer};

use super::flow_policies::{self, FlowPolicy};
use super::plugin::Plugin;
use super::{filters, ignored, metrics_pages, pickers, scorers, session_affinity};
use crate::diagnostics::Diagnostics;

/// How Signalbox treats a plugin type.
#[derive(Clone, Copy)]
pub(crate) enum Support {
    Filter(fn(&Plugin<'_>, &mut Diagnostics) -> Filter),
    Scorer(fn(&Plugin<'_>, &mut Diagnostics) -> Scorer),
    Picker(fn(&Plugin<'_>, &mut Diagnostics) -> Picker),
    /// A policy of flow control.
    Flow(fn(&Plugin<'_>, &mut Diagnostics) -> FlowPolicy),
    /// Accepted without effect, because Signalbox always does this. The function checks the parameters; the
    /// text says how Signalbox does it.
    BuiltIn(fn(&Plugin<'_>, &mut Diagnostics), &'static str),
    /// Says where metrics pages are and how they are read, for the aggregators that have the file. Without effect if its
    /// parameters change nothing.
    MetricsPages(fn(&Plugin<'_>, &mut Diagnostics)),
    /// A parser, which takes no parameters.
    Parser,
    /// Not supported until this feature exists.
    NotYet(&'static str),
    /// Not planned, for this reason.
    NotPlanned(&'static str),
}

const DISAGGREGATION: &str = "prefill/decode disaggregation";
const EVICTION: &str =
    "with enableEviction, sheddable requests are evicted, the lowest priority and of these the newest first";
const ADMISSION: &str = "admission by chance";
const AGENTS: &str = "agents' identities";
const LATENCY: &str = "predicted latency";
const EVENTS: &str = "KV-cache events";
const MULTIMODAL: &str = "encode disaggregation";
const ATTRIBUTES: &str = "endpoints have no attributes beyond their labels, adapters, queue and KV cache";
const CLUSTERS: &str = "a pool belongs to one cluster";
const TESTS: &str = "it exists for the Go EPP's own tests";

/// All plugin types; filters, scorers and pickers first.
pub(crate) const CATALOG: &[(&str, Support)] = &[
    ("label-selector-filter", Support::Filter(filters::label_selector)),
    ("by-label-selector", Support::Filter(filters::label_selector)),
    ("by-label", Support::Filter(filters::by_label)),
    ("decode-filter", Support::Filter(|plugin, diagnostics| role(plugin, diagnostics, Role::Decode))),
    ("prefill-filter", Support::Filter(|plugin, diagnostics| role(plugin, diagnostics, Role::Prefill))),
    ("encode-filter", Support::Filter(|plugin, diagnostics| role(plugin, diagnostics, Role::Encode))),
    ("session-affinity-filter", Support::Filter(session_affinity::filter)),
    ("utilization-filter", Support::Filter(filters::utilization)),
    ("prefix-cache-affinity-filter", Support::Filter(filters::prefix_cache_affinity)),
    ("utilization-detector", Support::Filter(filters::utilization_detector)),
    ("concurrency-detector", Support::Filter(filters::concurrency_detector)),
    ("queue-scorer", Support::Scorer(scorers::queue)),
    ("running-requests-size-scorer", Support::Scorer(scorers::running_requests)),
    ("kv-cache-utilization-scorer", Support::Scorer(scorers::kv_cache_utilization)),
    ("load-aware-scorer", Support::Scorer(scorers::load_aware)),
    ("lora-affinity-scorer", Support::Scorer(scorers::lora_affinity)),
    ("prefix-cache-scorer", Support::Scorer(scorers::prefix_cache)),
    ("active-request-scorer", Support::Scorer(scorers::active_request)),
    ("token-load-scorer", Support::Scorer(scorers::token_load)),
    ("no-hit-lru-scorer", Support::Scorer(scorers::no_hit_lru)),
    ("session-affinity-scorer", Support::Scorer(session_affinity::scorer)),
    ("max-score-picker", Support::Picker(pickers::max_score)),
    ("random-picker", Support::Picker(pickers::random)),
    ("weighted-random-picker", Support::Picker(pickers::weighted_random)),
    ("single-profile-handler", Support::BuiltIn(ignored::no_parameters, "there is only one profile")),
    ("metrics-data-source", Support::MetricsPages(metrics_pages::source)),
    ("core-metrics-extractor", Support::MetricsPages(metrics_pages::extractor)),
    (
        "endpoint-notification-source",
        Support::BuiltIn(ignored::no_parameters, "the pool's owner publishes endpoint changes"),
    ),
    (
        "approx-prefix-cache-producer",
        Support::BuiltIn(
            ignored::approximate_prefixes,
            "the pool's prefix index covers the whole prompt in blocks of one size, up to each endpoint's KV cache capacity",
        ),
    ),
    (
        "inflight-load-producer",
        Support::BuiltIn(ignored::inflight_load, "the pool state has the bookings of all replicas"),
    ),
    ("token-producer", Support::BuiltIn(ignored::tokens, "4 bytes of prompt count as one token")),
    ("tokenizer", Support::BuiltIn(ignored::tokens, "4 bytes of prompt count as one token")),
    ("openai-parser", Support::Parser),
    ("passthrough-parser", Support::Parser),
    ("anthropic-parser", Support::Parser),
    ("vllmhttp-parser", Support::Parser),
    ("sglanghttp-parser", Support::Parser),
    ("vertexai-parser", Support::Parser),
    ("vllmgrpc-parser", Support::Parser),
    ("disagg-profile-handler", Support::NotYet(DISAGGREGATION)),
    ("pd-profile-handler", Support::NotYet(DISAGGREGATION)),
    ("disagg-headers-handler", Support::NotYet(DISAGGREGATION)),
    ("prefill-header-handler", Support::NotYet(DISAGGREGATION)),
    ("always-disagg-pd-decider", Support::NotYet(DISAGGREGATION)),
    ("prefix-based-pd-decider", Support::NotYet(DISAGGREGATION)),
    ("p2p-source-producer", Support::NotYet(DISAGGREGATION)),
    ("topology-affinity-filter", Support::NotYet(DISAGGREGATION)),
    ("topology-affinity-scorer", Support::NotYet(DISAGGREGATION)),
    ("topology-extractor", Support::NotYet(DISAGGREGATION)),
    ("always-disagg-multimodal-decider", Support::NotYet(MULTIMODAL)),
    ("mm-embeddings-cache-scorer", Support::NotYet(MULTIMODAL)),
    ("mm-embeddings-cache-producer", Support::NotYet(MULTIMODAL)),
    ("precise-prefix-cache-scorer", Support::NotYet(EVENTS)),
    ("precise-prefix-cache-producer", Support::NotYet(EVENTS)),
    ("predicted-latency-producer", Support::NotYet(LATENCY)),
    ("latency-scorer", Support::NotYet(LATENCY)),
    ("slo-headroom-tier-filter", Support::NotYet(LATENCY)),
    ("latency-slo-admitter", Support::NotYet(LATENCY)),
    ("probabilistic-admitter", Support::NotYet(ADMISSION)),
    ("agent-identity", Support::NotYet(AGENTS)),
    ("wait-detector", Support::Flow(flow_policies::wait_detector)),
    ("weighted-fairness-policy", Support::Flow(flow_policies::weighted)),
    ("global-strict-fairness-policy", Support::Flow(flow_policies::strict)),
    ("round-robin-fairness-policy", Support::Flow(flow_policies::round_robin)),
    ("program-aware-fairness", Support::Flow(flow_policies::program_aware)),
    ("fcfs-ordering-policy", Support::Flow(flow_policies::by_arrival)),
    ("edf-ordering-policy", Support::Flow(flow_policies::by_deadline)),
    ("slo-deadline-ordering-policy", Support::Flow(flow_policies::by_goal)),
    ("static-usage-limit-policy", Support::Flow(flow_policies::static_limit)),
    ("priority-holdback-policy", Support::Flow(flow_policies::holdback)),
    ("soft-reflective-ceiling-policy", Support::Flow(flow_policies::reflective)),
    ("sheddable-eviction-filter", Support::BuiltIn(ignored::no_parameters, EVICTION)),
    ("priority-then-time-eviction-order-policy", Support::BuiltIn(ignored::no_parameters, EVICTION)),
    ("k8s-notification-source", Support::NotYet("Kubernetes discovery")),
    ("models-data-source", Support::NotPlanned("each request names its model")),
    ("models-data-extractor", Support::NotPlanned("each request names its model")),
    (
        "data-parallel-profile-handler",
        Support::NotPlanned("each rank is a separate endpoint; list it as one"),
    ),
    ("header-profile-handler", Support::NotPlanned("there is one profile for all requests")),
    ("session-id-producer", Support::NotPlanned("name the header in sessionIdConfig.sources instead")),
    ("burst-prefix-cache-producer", Support::NotPlanned("requests are never delayed to be placed together")),
    (
        "context-length-aware",
        Support::NotPlanned("a label-selector-filter can reserve endpoints for long prompts"),
    ),
    ("header-label-affinity-scorer", Support::NotPlanned("session-affinity-scorer reads headers instead")),
    ("endpoint-attribute-filter", Support::NotPlanned(ATTRIBUTES)),
    ("endpoint-attribute-scorer", Support::NotPlanned(ATTRIBUTES)),
    ("dcgm-data-source", Support::NotPlanned(ATTRIBUTES)),
    ("dcgm-extractor", Support::NotPlanned(ATTRIBUTES)),
    ("request-attribute-reporter", Support::NotPlanned("requests have no attributes to report")),
    (
        "disaggregatedset-rollout-screener",
        Support::NotPlanned("a label-selector-filter can select one revision"),
    ),
    ("file-discovery", Support::NotPlanned("signalbox-aggregator --endpoints reads the endpoints instead")),
    ("multicluster-session-affinity-filter", Support::NotPlanned(CLUSTERS)),
    ("multicluster-queue-scorer", Support::NotPlanned(CLUSTERS)),
    ("multicluster-kv-cache-utilization-scorer", Support::NotPlanned(CLUSTERS)),
    ("multicluster-prefix-cache-scorer", Support::NotPlanned(CLUSTERS)),
    ("multicluster-approx-prefix-cache-producer", Support::NotPlanned(CLUSTERS)),
    ("header-based-testing-filter", Support::NotPlanned(TESTS)),
    ("destination-endpoint-served-verifier", Support::NotPlanned(TESTS)),
];

/// Returns why no plugin of the type `plugin_type` can be declared, if so.
pub(crate) fn unusable(plugin_type: &str) -> Option<String> {
    match support(plugin_type)? {
        Support::NotYet(feature) => Some(format!("is not supported yet, it needs {feature}; remove it")),
        Support::NotPlanned(why) => Some(format!("is not supported and not planned: {why}; remove it")),
        _ => None,
    }
}

/// Returns how Signalbox treats `plugin_type`, or `None` if there is no such type.
pub(crate) fn support(plugin_type: &str) -> Option<Support> {
    CATALOG.iter().find(|(name, _)| *name == plugin_type).map(|(_, support)| *support)
}

/// Returns how to fix an unknown `plugin_type`.
pub(crate) fn hint(plugin_type: &str) -> String {
    let all: Vec<_> = CATALOG.iter().map(|(name, _)| *name).collect();
    if let Some(known) = closest_match(plugin_type, &all) {
        return format!("did you mean \"{known}\"?");
    }
    let decides =
        |support: &Support| matches!(support, Support::Filter(_) | Support::Scorer(_) | Support::Picker(_));
    let deciding: Vec<_> =
        CATALOG.iter().filter(|(_, support)| decides(support)).map(|(name, _)| *name).collect();
    format!("filters, scorers and pickers are: {}", deciding.join(", "))
}

fn role(plugin: &Plugin<'_>, diagnostics: &mut Diagnostics, role: Role) -> Filter {
    plugin.reject_parameters(diagnostics);
    Filter::Role(role)
}
