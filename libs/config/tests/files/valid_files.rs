//! Valid files and the policies that they define.

use signalbox_config::{describe, parse};
use signalbox_schedule::{
    Concurrency, Fallback, Filter, LabelOperator, LabelRequirement, LabelSelector, Limit, Metric, Picker,
    PrefixAffinity, Role, Saturation, Scorer, SessionAffinity, Unlabeled,
};

use crate::support::{GO_DEFAULT, PREFIX, QUEUE, filters, read, scorers, warnings};

#[test]
fn go_epp_default_file_is_accepted() {
    let read = read(GO_DEFAULT);
    assert_eq!("default", read.profile);
    assert_eq!(Vec::<Filter>::new(), filters(&read));
    assert_eq!(vec![(QUEUE, 2.0), (Scorer::KvCacheFree, 2.0), (PREFIX, 3.0)], scorers(&read));
    assert_eq!(Picker::MaxScore, read.weighted.picker);
    assert_eq!(Vec::<String>::new(), warnings(&read));
    assert_eq!(2, read.ignored.len());
}

#[test]
fn filter_picker_and_weighted_scorer_are_read() {
    let read = read(
        "
plugins:
- type: prefix-cache-scorer
- type: decode-filter
- type: max-score-picker
- type: single-profile-handler
schedulingProfiles:
- name: default
  plugins:
  - pluginRef: decode-filter
  - pluginRef: max-score-picker
  - pluginRef: prefix-cache-scorer
    weight: 2
",
    );
    assert_eq!(vec![Filter::Role(Role::Decode)], filters(&read));
    assert_eq!(vec![(PREFIX, 2.0)], scorers(&read));
    assert!(warnings(&read).is_empty());
}

#[test]
fn scorer_can_name_a_renamed_producer() {
    let read = read(
        "
plugins:
- type: approx-prefix-cache-producer
  name: prefixes
  parameters: { maxPrefixTokensToMatch: 16384, lruCapacityPerServer: 31250, autoTune: false }
- type: prefix-cache-scorer
  parameters: { prefixMatchInfoProducerName: prefixes, matchLengthWeight: 0.25, matchLengthScaleTokens: 4096 }
- type: decode-filter
schedulingProfiles:
- name: default
  plugins: [{ pluginRef: decode-filter }, { pluginRef: prefix-cache-scorer, weight: 2.5 }]
",
    );
    let scorer = Scorer::PrefixCache { length_weight: 0.25, scale_tokens: 4_096.0 };
    assert_eq!(vec![(scorer, 2.5)], scorers(&read));
    assert!(read.ignored[0].to_string().starts_with("line 5: plugins[0]: \"prefixes\" (approx-prefix"));
}

#[test]
fn token_producer_with_estimate_is_accepted() {
    let read = read("
plugins:
- { type: token-producer, parameters: { estimate: {} } }
- type: approx-prefix-cache-producer
- type: prefix-cache-scorer
- { type: load-aware-scorer, parameters: { threshold: 64 } }
- type: decode-filter
schedulingProfiles:
- name: default
  plugins: [{ pluginRef: decode-filter }, { pluginRef: prefix-cache-scorer }, { pluginRef: load-aware-scorer }]
");
    assert_eq!(vec![(PREFIX, 1.0), (Scorer::LoadAware { threshold: 64.0 }, 1.0)], scorers(&read));
}

#[test]
fn go_epp_affinity_preset_is_accepted() {
    let read = read(
        "
plugins:
- type: approx-prefix-cache-producer
- type: inflight-load-producer
- type: prefix-cache-affinity-filter
  parameters: { peakPrefillThroughput: 33821 }
- type: token-load-scorer
- type: max-score-picker
schedulingProfiles:
- name: default
  plugins:
  - pluginRef: prefix-cache-affinity-filter
  - pluginRef: token-load-scorer
  - pluginRef: max-score-picker
",
    );
    let affinity = PrefixAffinity {
        threshold: 0.8,
        exploration: 0.0,
        max_penalty_ms: 18_000.0,
        peak_tokens_per_second: 33_821.0,
    };
    assert_eq!(vec![Filter::PrefixAffinity(affinity)], filters(&read));
    assert_eq!(vec![(Scorer::TokenLoad { threshold_tokens: 4_194_304.0 }, 1.0)], scorers(&read));
}

#[test]
fn json_file_with_legacy_version_is_accepted_with_a_warning() {
    let text = r#"{
	"apiVersion": "inference.networking.x-k8s.io/v1alpha1",
	"kind": "EndpointPickerConfig",
	"plugins": [
		{ "type": "lora-affinity-scorer" },
		{ "name": "q", "type": "queue-scorer", "parameters": null }
	],
	"schedulingProfiles": [
		{ "name": "lora", "plugins": [{ "pluginRef": "lora-affinity-scorer", "weight": 3 }, { "pluginRef": "q" }] }
	]
}"#;
    let read = parse(text).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!("lora", read.profile);
    assert_eq!(vec![(Scorer::LoraAffinity, 3.0), (QUEUE, 1.0)], scorers(&read));
    let deprecated =
        "line 2: apiVersion: inference.networking.x-k8s.io/v1alpha1 is deprecated; write llm-d.ai/v1alpha1";
    assert_eq!(vec![deprecated], warnings(&read));
}

#[test]
fn session_affinity_headers_are_read() {
    let read = read("
plugins:
- type: passthrough-parser
- type: active-request-scorer
- type: session-affinity-scorer
- { type: session-affinity-filter, parameters: { strategy: session_id, sessionIdConfig: { sources: [{ header: X-User }] } } }
requestHandler: { parsers: [{ pluginRef: passthrough-parser }, { pluginRef: openai-parser }] }
schedulingProfiles:
- name: default
  plugins:
  - pluginRef: session-affinity-filter
  - pluginRef: active-request-scorer
  - pluginRef: session-affinity-scorer
");
    let id = SessionAffinity::Id { headers: vec!["x-user".to_owned()] };
    assert_eq!(vec![Filter::Session(id)], filters(&read));
    let token = SessionAffinity::Token { header: "x-session-token".to_owned() };
    let busy = Scorer::ActiveRequests { idle: 0.0, max_busy: 1.0 };
    assert_eq!(vec![(busy, 1.0), (Scorer::Session(token), 1.0)], scorers(&read));
    assert_eq!(vec!["x-session-token", "x-user"], read.policy().request_headers());
    assert_eq!(Some("x-session-token"), read.policy().session_header());
}

#[test]
fn without_profiles_every_plugin_acts_in_file_order() {
    let read = read(
        "
plugins:
- { type: utilization-detector, parameters: { queueDepthThreshold: 999999999, kvCacheUtilThreshold: 1.0 } }
- type: random-picker
- type: decode-filter
- { type: queue-scorer }
",
    );
    let saturation = Saturation { queue_depth: 999_999_999.0, kv_used: 1.0, headroom: 0.0 };
    assert_eq!(vec![Filter::Saturation(saturation), Filter::Role(Role::Decode)], filters(&read));
    assert_eq!((vec![(QUEUE, 1.0)], Picker::Random), (scorers(&read), read.weighted.picker));
}

#[test]
fn filter_parameters_are_read() {
    let read = read(
        "
plugins:
- type: label-selector-filter
  parameters:
    matchLabels: { zone: a }
    matchExpressions:
    - { key: tier, operator: NotIn, values: [spot] }
    - { key: gpu, operator: Exists }
- { type: by-label, parameters: { label: pool, validValues: [x, y], allowsNoLabel: true } }
- type: utilization-filter
  parameters:
    conditions: [{ metric: kv-cache-utilization, maxValue: 0.9 }, { metric: waiting-queue, maxValue: 0 }]
    fallbackOnEmpty: true
- { type: concurrency-detector, parameters: { concurrencyMode: hybrid, maxConcurrency: 8, headroom: 0.5 } }
- type: encode-filter
- { type: running-requests-size-scorer }
- { type: no-hit-lru-scorer, parameters: { lruSize: 64 } }
- type: weighted-random-picker
",
    );
    let requirement = |key: &str, operator| LabelRequirement { key: key.to_owned(), operator };
    let list = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
    let expected = vec![
        Filter::Labels(LabelSelector {
            requirements: vec![
                requirement("zone", LabelOperator::In(list(&["a"]))),
                requirement("tier", LabelOperator::NotIn(list(&["spot"]))),
                requirement("gpu", LabelOperator::Exists),
            ],
        }),
        Filter::ByLabel { label: "pool".to_owned(), values: list(&["x", "y"]), unlabeled: Unlabeled::Pass },
        Filter::Utilization {
            limits: vec![
                Limit { metric: Metric::KvCacheUtilization, max: 0.9 },
                Limit { metric: Metric::WaitingQueue, max: 0.0 },
            ],
            fallback: Fallback::KeepAll,
        },
        Filter::Concurrency(Concurrency { requests: Some(8.0), tokens: Some(1e6), headroom: 0.5 }),
        Filter::Role(Role::Encode),
    ];
    assert_eq!(expected, filters(&read));
    assert_eq!(vec![(Scorer::Least(Metric::RunningRequests), 1.0), (Scorer::NoHitLru, 1.0)], scorers(&read));
    assert_eq!(Picker::WeightedRandom, read.weighted.picker);
}

#[test]
fn description_covers_every_section() {
    let text = GO_DEFAULT.replace("- type: metrics", "- type: decode-filter\n- type: metrics");
    let text =
        text.replace("  - { pluginRef: queue", "  - { pluginRef: decode-filter }\n  - { pluginRef: queue");
    let expected = "\
profile default, for every request

candidates
  endpoints that the gateway allows; stale, failing and unreachable ones only when the filters keep no other

filters, in this order
  1. decode-filter: keeps endpoints whose label llm-d.ai/role is one of [decode, prefill-decode, both, encode-prefill-decode], or that do not have it
  when no endpoint is left, the request is rejected with 429 (rejected-saturated)

scorers: total = sum of weight × score, each score limited to 0 to 1
  2 × queue-scorer: (most − own) ÷ (most − least) of waiting-queue among the candidates; 1 when all are equal
  2 × kv-cache-utilization-scorer: 1 − share of the KV cache in use
  3 × prefix-cache-scorer: held blocks ÷ blocks of the prompt

picker
  max-score-picker: the highest total; ties are broken at random

flow control
  off, unless --flow-control=on: no request waits
  requests with a negative priority are refused with 429 while the pool is full, which it is when a prompt would wait 100 ms at the best endpoint

ignored, because Signalbox always does it or does it in its own way
  line 8: plugins[4]: metrics-data-source: the collector scrapes each endpoint's metrics
  line 9: plugins[5]: core-metrics-extractor: the collector scrapes each endpoint's metrics
";
    assert_eq!(expected, describe(&read(&text)));
}

#[test]
fn plugins_of_metrics_pages_are_ignored_only_without_an_effect() {
    let ignored = |source: &str, extractor: &str| {
        let plugins = [("metrics-data-source", source), ("core-metrics-extractor", extractor)]
            .map(|(name, parameters)| format!("- {{ type: {name}, parameters: {{ {parameters} }} }}\n"));
        let read = read(&format!("plugins:\n- type: queue-scorer\n{}", plugins.concat()));
        read.ignored.iter().map(|ignored| ignored.path.clone()).collect::<Vec<_>>()
    };
    assert_eq!(vec!["plugins[1]", "plugins[2]"], ignored("", ""));
    assert_eq!(vec!["plugins[2]"], ignored("path: /stats", ""));
    assert_eq!(vec!["plugins[1]"], ignored("", "defaultEngine: sglang"));
    assert_eq!(vec!["plugins[1]", "plugins[2]"], ignored("scheme: http", "defaultEngine: vllm"));
}
