//! Invalid files and files with warnings.

use signalbox_config::parse;
use signalbox_schedule::Picker;

use crate::support::{HEAD, problems, read, warnings};

#[test]
fn all_problems_are_reported_at_once_with_line_and_fix() {
    let text = "\
apiVersion: llm-d.ai/v1
kind: EndpointPickerConfg
featureGates: [flowControl, flowControl=maybe, flowcontrol, haPopulateNonLeaderDatastore]
plugins:
- type: queue-scorr
- type: queue-scorer
  parameters: { threshold: 5 }
- type: load-aware-scorer
  parameters: { treshold: 5 }
- { type: prefix-cache-scorer, parameters: { matchLengthWeight: 1.5, matchLengthScaleTokens: 0 } }
- type: disagg-profile-handler
- type: burst-prefix-cache-producer
- type: frobnicator
- name: queue-scorer
  type: kv-cache-utilization-scorer
- { type: utilization-filter, parameters: { conditions: [{ metric: waiting, maxValue: -1 }, { metric: kv-cache-utilization, maxValue: 80 }] } }
- { type: token-load-scorer, parameters: { inFlightLoadProducerName: nobody, queueThresholdTokens: many } }
- { type: by-label, parameters: { label: zone } }
- type: max-score-picker
- { name: other, type: random-picker, weight: 1 }
schedulingProfiles:
- name: default
  plugins:
  - { pluginRef: queue-scorer, weight: -1 }
  - { pluginRef: load-aware-scorer, weight: .inf }
  - { pluginRef: prefix-cache-scorer, weight: .nan }
  - { pluginRef: max-score-picker, weight: 2 }
  - { pluginRef: prefix-cash-scorer }
  - { pluginRef: decode-filter }
- { name: prefill, plugins: [] }
requestHandler: { parsers: [{ pluginRef: queue-scorer }] }
flowControl: { maxRequests: 5, saturationDetector: { pluginRef: utilization-filter } }
schedulingProfile: {}
";
    let expected = r#"line 1: apiVersion: unknown version "llm-d.ai/v1"; write apiVersion: llm-d.ai/v1alpha1
line 2: kind: unknown kind "EndpointPickerConfg"; write kind: EndpointPickerConfig
line 3: featureGates[1]: "maybe" is not a boolean; write flowControl=false
line 3: featureGates[2]: unknown feature gate "flowcontrol"; did you mean "flowControl"?
line 5: plugins[0]: unknown plugin type "queue-scorr"; did you mean "queue-scorer"?
line 7: plugins[1].parameters.threshold: unknown field; no fields are allowed here, remove it
line 9: plugins[2].parameters.treshold: unknown field; did you mean "threshold"?
line 10: plugins[3].parameters.matchLengthWeight: invalid value 1.5; write a number from 0 to 1
line 10: plugins[3].parameters.matchLengthScaleTokens: invalid value 0; write an integer of at least 1
line 11: plugins[4]: "disagg-profile-handler" is not supported yet, it needs prefill/decode disaggregation; remove it
line 12: plugins[5]: "burst-prefix-cache-producer" is not supported and not planned: requests are never delayed to be placed together; remove it
line 13: plugins[6]: unknown plugin type "frobnicator"; filters, scorers and pickers are: label-selector-filter, by-label-selector, by-label, decode-filter, prefill-filter, encode-filter, session-affinity-filter, utilization-filter, prefix-cache-affinity-filter, utilization-detector, concurrency-detector, queue-scorer, running-requests-size-scorer, kv-cache-utilization-scorer, load-aware-scorer, lora-affinity-scorer, prefix-cache-scorer, active-request-scorer, token-load-scorer, no-hit-lru-scorer, session-affinity-scorer, max-score-picker, random-picker, weighted-random-picker
line 14: plugins[7]: duplicate plugin name "queue-scorer", first used on line 6; rename one
line 16: plugins[8].parameters.conditions[0].metric: unknown value "waiting"; use one of: active-requests, running-requests, waiting-queue, kv-cache-utilization
line 16: plugins[8].parameters.conditions[0].maxValue: invalid value -1; write a number of at least 0
line 16: plugins[8].parameters.conditions[1].maxValue: invalid value 80; write a number from 0 to 1
line 17: plugins[9].parameters.queueThresholdTokens: expected a number, found text
line 17: plugins[9].parameters.inFlightLoadProducerName: no plugin is named "nobody"; remove it, or write inflight-load-producer
line 18: plugins[10]: rejects every endpoint; write validValues: [VALUE], or allowsNoLabel: true
line 20: plugins[12].weight: unknown field; known fields: name, type, parameters
line 24: schedulingProfiles[0].plugins[0].weight: invalid weight -1; write a number above 0
line 25: schedulingProfiles[0].plugins[1].weight: invalid weight inf; write a number above 0
line 26: schedulingProfiles[0].plugins[2].weight: invalid weight NaN; write a number above 0
line 27: schedulingProfiles[0].plugins[3].weight: "max-score-picker" is not a scorer, and only scorers have weights; remove it
line 28: schedulingProfiles[0].plugins[4].pluginRef: no plugin is named "prefix-cash-scorer"; the closest name is "prefix-cache-scorer"
line 29: schedulingProfiles[0].plugins[5].pluginRef: no plugin is named "decode-filter"; declare it in plugins: - type: decode-filter
line 30: schedulingProfiles[1]: a second profile needs prefill/decode disaggregation, which is not supported yet; keep one
line 31: requestHandler.parsers[0].pluginRef: plugins declares no parser named "queue-scorer"; declare it there
line 32: flowControl.saturationDetector.pluginRef: "utilization-filter" is no saturation detector; name a plugin of type utilization-detector, concurrency-detector or wait-detector
line 33: schedulingProfile: unknown field; did you mean "schedulingProfiles"?"#;
    assert_eq!(expected, parse(text).unwrap_err().to_string());
}

#[test]
fn filters_that_reject_every_endpoint_are_invalid() {
    let profile = "plugins:
- { type: label-selector-filter, name: one, parameters: { matchLabels: { llm-d.ai/role: prefill } } }
- { type: decode-filter }
";
    let expected = "line 5: plugins[1]: \"decode-filter\" together with \"one\" rejects every endpoint: \
                    no value of the label \"llm-d.ai/role\" passes; change a filter";
    assert_eq!(expected, problems(profile));
    let selector = |expressions: &str| {
        format!(
            "plugins: [{{ type: label-selector-filter, parameters: {{ matchExpressions: [{expressions}] }} }}]"
        )
    };
    for impossible in [
        "{ key: a, operator: In, values: [x] }, { key: a, operator: NotIn, values: [x, y] }",
        "{ key: a, operator: Exists }, { key: a, operator: DoesNotExist }",
        "{ key: a, operator: NotIn, values: [x] }, { key: a, operator: In, values: [x] }",
        "{ key: a, operator: In, values: [x] }, { key: a, operator: DoesNotExist }",
    ] {
        assert!(problems(&selector(impossible)).contains("rejects every endpoint"), "{impossible}");
    }
    for possible in [
        "{ key: a, operator: In, values: [x, z] }, { key: a, operator: NotIn, values: [x, y] }",
        "{ key: a, operator: NotIn, values: [x] }, { key: a, operator: DoesNotExist }",
        "{ key: a, operator: In, values: [x] }, { key: b, operator: In, values: [y] }",
    ] {
        read(&selector(possible));
    }
    read("plugins: [{ type: decode-filter }, { type: prefill-filter }]");
    let by_label = "plugins: [{ type: by-label, parameters: { label: llm-d.ai/role, validValues: [encode] } }, { type: decode-filter }]";
    assert!(problems(by_label).contains("rejects every endpoint"));
}

#[test]
fn settings_without_the_likely_intended_effect_are_warnings() {
    let read = read(
        "
plugins:
- type: queue-scorer
- type: decode-filter
- { type: prefix-cache-affinity-filter, parameters: { affinityThreshold: 0 } }
- { type: max-score-picker, parameters: { maxNumOfEndpoints: 3 } }
- type: vertexai-parser
- { type: utilization-detector, name: busy }
saturationDetector: { pluginRef: busy }
schedulingProfiles:
- name: default
  plugins:
  - { pluginRef: queue-scorer, weight: 0 }
  - { pluginRef: vertexai-parser }
",
    );
    let expected = vec![
        "line 6: plugins[1]: decode-filter is not used: the profile does not reference it",
        "line 7: plugins[2]: an affinityThreshold of 0 or less turns the filter off",
        "line 7: plugins[2]: prefix-cache-affinity-filter is not used: the profile does not reference it",
        "line 8: plugins[3]: maxNumOfEndpoints is ignored: gateways get one endpoint per request",
        "line 11: saturationDetector: saturationDetector is deprecated here; move it to flowControl",
        "line 13: schedulingProfiles[0]: no scorer has a weight above 0: the picker chooses at random from what the filters keep",
        "line 15: schedulingProfiles[0].plugins[0].weight: weight 0: the scorer has no effect",
        "line 16: schedulingProfiles[0].plugins[1]: \"vertexai-parser\" is not a filter, scorer or picker: it has no effect in a profile",
    ];
    assert_eq!(expected, warnings(&read));
}

#[test]
fn session_affinity_needs_one_valid_header() {
    let token =
        |header: &str| format!("parameters: {{ encodedEndpointHeaderConfig: {{ header: {header} }} }}");
    let (one, other) = (token("x-one"), token("x-other"));
    let text = format!(
        "plugins: [{{ type: session-affinity-filter, {one} }}, {{ type: session-affinity-scorer, {other} }}]"
    );
    let expected =
        "line 3: plugins: session tokens are returned in \"x-one\" and in \"x-other\"; use one header";
    assert_eq!(expected, problems(&text));
    let bad = format!("plugins: [{{ type: session-affinity-filter, {} }}]", token("'x one'"));
    assert!(problems(&bad).contains("invalid header name"));
    let source = "plugins: [{ type: session-affinity-filter, parameters: { sessionIdConfig: { sources: [{ attribute: a }, {}] } } }]";
    let found = problems(source);
    assert!(
        found.contains("not supported; write header: NAME") && found.contains("header is missing"),
        "{found}"
    );
}

#[test]
fn a_profile_has_at_most_one_picker() {
    let declared = "plugins: [{ type: queue-scorer }, { type: random-picker }, { type: max-score-picker }]\n";
    let profile = |pickers: &str| {
        format!(
            "{declared}schedulingProfiles: [{{ name: a, plugins: [{{ pluginRef: queue-scorer }}{pickers}] }}]"
        )
    };
    let second =
        "line 3: plugins[2]: several pickers are declared, and the profile references none; reference one";
    assert_eq!(second, problems(&profile("")));
    assert_eq!(Picker::Random, read(&profile(", { pluginRef: random-picker }")).weighted.picker);
    let both = problems(&profile(", { pluginRef: random-picker }, { pluginRef: max-score-picker }"));
    assert!(
        both.contains("\"max-score-picker\" is a second picker after \"random-picker\"; keep one"),
        "{both}"
    );
    let one = profile("").replace(", { type: max-score-picker }", "");
    assert_eq!(Picker::Random, read(&one).weighted.picker);
}

/// Every plugin type of the Go EPP.
const CATALOG: &str = "label-selector-filter by-label-selector by-label decode-filter prefill-filter encode-filter
session-affinity-filter multicluster-session-affinity-filter endpoint-attribute-filter topology-affinity-filter utilization-filter
prefix-cache-affinity-filter slo-headroom-tier-filter utilization-detector concurrency-detector header-based-testing-filter
queue-scorer running-requests-size-scorer kv-cache-utilization-scorer load-aware-scorer lora-affinity-scorer
multicluster-queue-scorer multicluster-kv-cache-utilization-scorer multicluster-prefix-cache-scorer prefix-cache-scorer
precise-prefix-cache-scorer active-request-scorer token-load-scorer no-hit-lru-scorer session-affinity-scorer
context-length-aware endpoint-attribute-scorer header-label-affinity-scorer topology-affinity-scorer
mm-embeddings-cache-scorer latency-scorer max-score-picker random-picker weighted-random-picker single-profile-handler
disagg-profile-handler pd-profile-handler disagg-headers-handler prefill-header-handler data-parallel-profile-handler
header-profile-handler always-disagg-pd-decider prefix-based-pd-decider always-disagg-multimodal-decider token-producer
tokenizer approx-prefix-cache-producer multicluster-approx-prefix-cache-producer precise-prefix-cache-producer
burst-prefix-cache-producer inflight-load-producer predicted-latency-producer mm-embeddings-cache-producer
session-id-producer p2p-source-producer latency-slo-admitter probabilistic-admitter disaggregatedset-rollout-screener
agent-identity request-attribute-reporter destination-endpoint-served-verifier global-strict-fairness-policy
round-robin-fairness-policy program-aware-fairness fcfs-ordering-policy edf-ordering-policy slo-deadline-ordering-policy
static-usage-limit-policy priority-holdback-policy soft-reflective-ceiling-policy sheddable-eviction-filter
priority-then-time-eviction-order-policy metrics-data-source core-metrics-extractor models-data-source models-data-extractor
dcgm-data-source dcgm-extractor topology-extractor k8s-notification-source endpoint-notification-source file-discovery
openai-parser anthropic-parser vllmhttp-parser sglanghttp-parser vertexai-parser vllmgrpc-parser passthrough-parser";

#[test]
fn every_plugin_type_of_the_go_epp_is_known() {
    for plugin_type in CATALOG.split_whitespace() {
        let parsed =
            parse(&format!("{HEAD}plugins: [{{ type: {plugin_type} }}, {{ type: queue-scorer, name: q }}]"));
        let errors = parsed.map(|_| String::new()).unwrap_or_else(|errors| errors.to_string());
        assert!(!errors.contains("unknown plugin type"), "{errors}");
        let [unsupported, needs] = ["is not supported", "write "].map(|part| errors.contains(part));
        assert!(errors.is_empty() || unsupported || needs, "{errors}");
        let misspelled = format!("{}x", &plugin_type[..plugin_type.len() - 1]);
        let found = problems(&format!("plugins: [{{ type: {misspelled} }}]"));
        assert!(found.contains("did you mean"), "{found}");
    }
}
