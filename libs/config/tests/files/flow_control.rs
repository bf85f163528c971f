//! Flow control in files.

use signalbox_config::describe;
use signalbox_flow::{Caps, Ceilings, Detector, Fairness, FlowSettings, Ordering};

use crate::support::{problems, read, warnings};

#[test]
fn gate_decides_whether_requests_wait() {
    for (gates, is_enabled) in [
        ("", false),
        ("featureGates: [flowControl]", true),
        ("featureGates: [\"flowControl=true\"]", true),
        ("featureGates: [flowControl=false]", false),
    ] {
        let read = read(&format!("{gates}\nplugins: [{{ type: queue-scorer }}]\n"));
        assert_eq!(is_enabled, read.flow_control.is_enabled, "{gates}");
        assert_eq!(FlowSettings::default(), read.flow_control.settings);
        assert_eq!(is_enabled, describe(&read).contains("on, unless --flow-control=off"));
    }
    let read = read("plugins: [{ type: queue-scorer }]\nflowControl: { maxRequests: 7 }\n");
    assert!(warnings(&read)[0].contains("write featureGates: [flowControl]"), "{:?}", warnings(&read));
}

#[test]
fn all_settings_are_read_and_described() {
    let read = read(
        "\
featureGates: [flowControl]
plugins:
- type: queue-scorer
- { name: busy, type: concurrency-detector, parameters: { maxConcurrency: 20, concurrencyMode: hybrid } }
- { name: held, type: priority-holdback-policy, parameters: { minCeiling: 0.6, domain: value } }
- { name: by-goal, type: slo-deadline-ordering-policy }
schedulingProfiles: [{ name: default, plugins: [{ pluginRef: queue-scorer }] }]
flowControl:
  maxBytes: 2Gi
  maxRequests: 900
  maxTokens: 0
  defaultRequestTTL: 1m30s
  noEndpointRequestTTL: 0s
  sheddableWait: 250ms
  enableEviction: true
  usageLimitPolicyPluginRef: held
  saturationDetector: { pluginRef: busy }
  weights: { team-a: 3 }
  defaultPriorityBand: { maxRequests: 50, fairnessPolicyRef: round-robin-fairness-policy }
  priorityBands:
  - { priority: 10, orderingPolicyRef: by-goal, minShare: 20 }
  - { priority: -5, fairnessPolicyRef: global-strict-fairness-policy }
",
    );
    assert_eq!(Vec::<String>::new(), warnings(&read));
    let FlowSettings { caps, bands, default_band, default_negative_band, weights, .. } =
        read.flow_control.settings.clone();
    assert_eq!(Caps { requests: 900, bytes: 2 << 30, tokens: u64::MAX }, caps);
    let settings = &read.flow_control.settings;
    assert_eq!(
        (Some(90_000), None, 250),
        (settings.request_ttl_ms, settings.no_endpoint_ttl_ms, settings.sheddable_wait_ms)
    );
    assert_eq!(Ceilings::HoldbackByValue { lowest: 0.6, highest: 1.0 }, settings.ceilings);
    assert_eq!(Detector::Concurrency { requests: Some(20.0), tokens: Some(1e6) }, settings.detector);
    assert!(settings.revokes);
    assert_eq!(Some(&3), weights.get("team-a"));
    assert_eq!((50, Fairness::RoundRobin), (default_band.caps.requests, default_band.fairness));
    assert_eq!(
        (5_000, Fairness::Weighted),
        (default_negative_band.caps.requests, default_negative_band.fairness)
    );
    let (top, low) = (bands[&10], bands[&-5]);
    assert_eq!(
        (50, Fairness::RoundRobin, Ordering::TtftGoal, 20),
        (top.caps.requests, top.fairness, top.ordering, top.min_share_percent)
    );
    assert_eq!((5_000, Fairness::Strict, Ordering::Arrival), (low.caps.requests, low.fairness, low.ordering));
    let text = describe(&read);
    for line in [
        "the pool is full when the mean over the endpoints of max(requests ÷ 20, uncached prompt tokens ÷ 1000000) in flight from all replicas is 1; for the highest priority at 1 of that, for the lowest at 0.6",
        "a request waits for a place for up to 90 s, then it is refused with 429",
        "a request with a negative priority waits for up to 250 ms",
        "every request waits for one as long as its client does",
        "a request with a negative priority whose response has not begun is evicted with 429 if one of a higher priority needs its place",
        "all replicas together keep at most 900 requests, 2147483648 bytes waiting",
        "priority 10: flows go in turn, one request each; requests of a flow by arrival plus their TTFT goal, at most 5 s; at most 50 requests, 1000000000 bytes wait; at least 20 %",
        "every other negative priority: flows share by tokens and weight",
        "weights: team-a 3, all others 1",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}

#[test]
fn mistakes_are_named_with_what_is_known() {
    let problems = problems(
        "\
featureGates: [flowControl]
plugins:
- type: queue-scorer
- { name: held, type: priority-holdback-policy, parameters: { minCeiling: 1 } }
- { name: fast, type: wait-detector, parameters: { hold: 0s } }
flowControl:
  maxRequets: 5
  maxBytes: 5 apples
  defaultRequestTTL: 60
  enableEviction: maybe
  usageLimitPolicyPluginRef: queue-scorer
  saturationDetector: { pluginRef: queue-scorer }
  weights: { team-a: 0 }
  priorityBands:
  - { maxRequests: 1 }
  - { priority: 1.5 }
  - { priority: 1, fairnessPolicyRef: held, minShare: 70 }
  - { priority: 1, orderingPolicyRef: shortest-first }
  - { priority: 2, minShare: 70 }
",
    );
    for expected in [
        "line 6: plugins[1]: minCeiling must be below maxCeiling; lower it",
        "line 7: plugins[2].parameters.hold: a hold of 0s lets no request go; write hold: 100ms",
        "line 9: flowControl.maxRequets: unknown field; did you mean \"maxRequests\"?",
        "line 10: flowControl.maxBytes: \"5 apples\" is not a number of bytes; write it like 1000000 or 512Mi",
        "line 11: flowControl.defaultRequestTTL: \"60\" is not a duration; write it like 60s or 1m30s",
        "line 12: flowControl.enableEviction: ",
        "line 13: flowControl.usageLimitPolicyPluginRef: plugins declares no usage limit policy named \"queue-scorer\"; declare it there",
        "line 14: flowControl.saturationDetector.pluginRef: \"queue-scorer\" is no saturation detector; name a plugin of type",
        "line 15: flowControl.weights.team-a: invalid value 0; write an integer from 1 to 1000000",
        "line 17: flowControl.priorityBands[0]: priority is missing; write priority: 0",
        "line 18: flowControl.priorityBands[1].priority: invalid value 1.5; write an integer of 32 bits",
        "line 19: flowControl.priorityBands[2].fairnessPolicyRef: \"held\" is none of the plugins for this; use one of: weighted-fairness-policy, global-strict-fairness-policy",
        "line 20: flowControl.priorityBands[3]: priority 1 has two bands; keep one",
        "line 20: flowControl.priorityBands[3].orderingPolicyRef: plugins declares no plugin of the types fcfs-ordering-policy",
    ] {
        assert!(problems.contains(expected), "{expected}\n{problems}");
    }
}

/// Owners ignore settings beyond these bounds.
#[test]
fn settings_that_owners_would_ignore_are_problems() {
    let weights: String = (0..=FlowSettings::MAX_WEIGHTS).map(|number| format!("w{number}: 1, ")).collect();
    let bands: String =
        (0..=FlowSettings::MAX_BANDS).map(|number| format!("{{ priority: {number} }}, ")).collect();
    let long = "a".repeat(129);
    let file = |flow: &str| {
        let head = "featureGates: [flowControl]\nplugins: [{ type: queue-scorer }]\nflowControl:\n";
        problems(&format!("{head}  {flow}\n"))
    };
    for (flow, expected) in [
        (format!("weights: {{ {weights} }}"), "10001 weights are too many; keep at most 10000"),
        (format!("weights: {{ {long}: 2 }}"), "the fairness id is longer than 128 bytes; shorten it"),
        (format!("priorityBands: [{bands}]"), "1001 bands are too many; keep at most 1000"),
    ] {
        let problems = file(&flow);
        assert!(problems.contains(expected), "{expected}\n{problems}");
    }
}
