//! Tests of the cost terms.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Arc;

use signalbox_schedule::{CostTerms, DecisionInputs, EndpointCosts, LeastTime, Tier};
use signalbox_state::{
    AdapterResidency, Assessment, Circuit, EndpointState, LocalState, ModelCircuit, Observed, PrefixMatches,
    ScrapeStatus, View,
};
use signalbox_types::{
    Adapters, Capacity, EndpointSpec, Engine, Gauges, Load, MetricsTls, ModelKey, Origin, Rates, Request,
};

const SETTINGS: fn() -> LeastTime = LeastTime::default;

/// This replica, and another one.
const OWN: Origin = Origin(1);
const OTHER: Origin = Origin(2);

fn endpoint(name: &str) -> EndpointState {
    let address = "10.0.0.1:8000".parse().unwrap();
    let (name, metrics_url, labels) = (name.to_owned(), String::new(), BTreeMap::new());
    let spec = EndpointSpec {
        name,
        address,
        metrics_url,
        engine: Engine::Vllm,
        labels,
        is_draining: false,
        metrics_tls: MetricsTls::Verified,
    };
    let mut endpoint = EndpointState::new(Arc::new(spec));
    endpoint.observed = Observed { scrape_status: ScrapeStatus::Fresh, ..Observed::default() };
    endpoint
}

/// Returns the cost terms of one endpoint for a request to `model` with 4,000 prompt tokens and 64 output
/// tokens.
fn terms(model: &str, change: impl FnOnce(&mut EndpointState, &mut LocalState)) -> CostTerms {
    let mut endpoint = endpoint("pod");
    let (own, adapter_sent_to) = (vec![Load::ZERO], Default::default());
    let mut local = LocalState {
        origin: OWN,
        own,
        peers: Vec::new(),
        prefilling_ms: Vec::new(),
        adapter_sent_to,
        probed: Default::default(),
        unserved: Vec::new(),
    };
    change(&mut endpoint, &mut local);
    let mut view = View::default();
    view.adapters = Arc::new(["a", "b", "c"].into_iter().map(Arc::from).collect());
    view.endpoints = std::iter::once(Arc::new(endpoint)).collect();
    let matches = PrefixMatches { blocks: vec![0], ..PrefixMatches::default() };
    let model = model.to_owned();
    let request = Request { model, prompt_tokens: 4_000, max_output_tokens: Some(64), ..Request::default() };
    let inputs = DecisionInputs { view: &view, local: &local, matches: &matches, request: &request };
    EndpointCosts::compute(&inputs, &SETTINGS()).terms()[0]
}

fn residency(running: &str, device: &str, host: &str) -> Option<Arc<AdapterResidency>> {
    let names = |text: &str| text.split_whitespace().map(Arc::from).collect::<Vec<Arc<str>>>();
    let seen = Adapters { slots: 2, running: names(running), ..Adapters::default() };
    Some(Arc::new(AdapterResidency { reported: seen, device: names(device), host: names(host) }))
}

#[test]
fn endpoint_of_half_the_speed_takes_twice_the_time() {
    let (fast, slow) = (terms("m", |_, _| {}), {
        let rates =
            Rates { prefill_tokens_per_second: 4_000, decode_token_us: 12_000, decode_interference_us: 700 };
        terms("m", |endpoint, _| endpoint.assessment.rates = rates)
    });
    assert_eq!((500_000, 64 * 6_000), (fast.prefill_us, fast.decode_us));
    assert_eq!(
        (2 * fast.total_us(), 2 * fast.expected_duration_us()),
        (slow.total_us(), slow.expected_duration_us())
    );
}

#[test]
fn new_endpoint_has_a_surcharge() {
    let new = terms("m", |endpoint, _| endpoint.assessment.ramp_percent = 50);
    assert_eq!((250_000, 750_000), (new.ramp_us, new.total_us()));
}

#[test]
fn failing_endpoint_is_a_last_resort_and_gets_single_probes() {
    let tier = |circuit, is_probed| {
        let assessment = Assessment { circuit, ..Assessment::default() };
        let found = terms("m", |endpoint, local| {
            endpoint.assessment = assessment;
            local.own[0].requests = 9;
            if is_probed {
                local.probed.push(endpoint.key);
            }
        });
        found.tier
    };
    assert_eq!(Tier::Failing, tier(Circuit::Open, false));
    assert_eq!(Tier::Open, tier(Circuit::HalfOpen(None), false), "requests that still run prevent no probe");
    assert_eq!(Tier::Failing, tier(Circuit::HalfOpen(None), true));
    assert_eq!(Tier::Open, tier(Circuit::HalfOpen(Some(OWN)), false));
    assert_eq!(Tier::Failing, tier(Circuit::HalfOpen(Some(OTHER)), false), "another replica probes");
    assert_eq!(Tier::Open, tier(Circuit::Closed, true));
    assert!(Tier::Stale < Tier::Failing && Tier::Failing < Tier::Down);
}

#[test]
fn endpoint_that_refuses_a_model_is_in_a_worse_tier_for_that_model_alone() {
    let tier = |model, circuit, is_probed| {
        let found = terms(model, |endpoint, local| {
            let refused = ModelCircuit { model: ModelKey::of("refused"), circuit };
            endpoint.assessment.model_circuits = [refused].into();
            if is_probed {
                local.probed.push(endpoint.key);
            }
        });
        found.tier
    };
    assert_eq!(Tier::Refusing, tier("refused", Circuit::Open, false));
    assert_eq!(Tier::Open, tier("served", Circuit::Open, false));
    assert_eq!(Tier::Open, tier("refused", Circuit::HalfOpen(Some(OWN)), false));
    assert_eq!(Tier::Refusing, tier("refused", Circuit::HalfOpen(Some(OWN)), true), "one probe at a time");
    assert_eq!(Tier::Refusing, tier("refused", Circuit::HalfOpen(Some(OTHER)), false));
    assert!(Tier::Stale < Tier::Refusing && Tier::Refusing < Tier::Failing);
}

#[test]
fn requests_that_were_answered_with_an_error_cost_as_if_they_were_served() {
    let load = Load { requests: 3, prefills: 1, prefill_tokens: 4_000 };
    let booked = terms("m", |_, local| local.own = vec![load]);
    let unserved = terms("m", |_, local| local.unserved = vec![load]);
    assert_eq!(booked, unserved);
    assert!(booked.total_us() > terms("m", |_, _| {}).total_us());
}

#[test]
fn sleeping_engine_is_in_a_tier_below_all_that_are_awake() {
    let tier = |scrape_status, circuit| {
        let found = terms("m", |endpoint, _| {
            endpoint.observed.scrape_status = scrape_status;
            endpoint.observed.is_asleep = true;
            endpoint.assessment.circuit = circuit;
        });
        found.tier
    };
    assert_eq!(Tier::Asleep, tier(ScrapeStatus::Fresh, Circuit::Closed));
    assert_eq!(Tier::Asleep, tier(ScrapeStatus::Stale, Circuit::Open));
    assert_eq!(Tier::Down, tier(ScrapeStatus::Down, Circuit::Closed));
    assert!(Tier::Failing < Tier::Asleep && Tier::Asleep < Tier::Down);
}

#[test]
fn adapter_cost_depends_on_residency_and_free_slots() {
    let LeastTime { adapter_load_us: load, adapter_from_host_us: host, service_ms, .. } = SETTINGS();
    let cost =
        |at: Option<Arc<AdapterResidency>>| terms("a", |endpoint, _| endpoint.adapters = at).adapter_us;
    assert_eq!(0, cost(residency("", "a", "")));
    assert_eq!(load, cost(residency("", "b", "")));
    assert_eq!(host, cost(residency("", "b", "a")));
    assert_eq!(host + load, cost(residency("", "b c", "a")), "another adapter is evicted");
    assert_eq!(
        2 * load + service_ms * 1_000,
        cost(residency("b c", "b c", "")),
        "every slot has running requests"
    );
    assert_eq!(load, cost(None));
    assert_eq!(0, terms("base", |endpoint, _| endpoint.adapters = residency("b c", "b c", "")).adapter_us);
    let sent = terms("a", |endpoint, local| local.adapter_sent_to.push(endpoint.key));
    assert_eq!(0, sent.adapter_us);
}

#[test]
fn prompt_delays_as_many_requests_as_wait_now() {
    let load = Load { requests: 7, prefills: 3, prefill_tokens: 8_000 };
    let found = terms("m", |_, local| local.own[0] = load);
    assert_eq!((1_000_000, 500_000, 1_500_000), (found.wait_us, found.prefill_us, found.others_us));
    assert_eq!(1_000_000 + 500_000 + 1_500_000 + 8 * 7 * 350, found.total_us());
}

#[test]
fn progress_on_the_current_prompt_reduces_the_wait() {
    let load = Load { requests: 2, prefills: 2, prefill_tokens: 8_000 };
    let ahead = |since_ms| {
        let found = terms("m", |_, local| {
            local.own[0] = load;
            local.prefilling_ms = vec![since_ms];
        });
        found.ahead_tokens
    };
    assert_eq!([8_000, 7_200, 4_000, 4_000], [0, 100, 500, 60_000].map(ahead));
}

/// Returns the time that the request of [`terms`] waits for room at an endpoint with these gauges and `kv_tokens`
/// of KV cache, when `ahead` prompt tokens come first.
fn room_us(gauges: Gauges, kv_tokens: u64, ahead: u64) -> u64 {
    let found = terms("m", |endpoint, local| {
        endpoint.observed.gauges = gauges;
        endpoint.observed.capacity = Some(Capacity { kv_tokens });
        local.own[0].prefill_tokens = ahead;
    });
    found.wait_us - ahead * 125
}

fn gauges(waiting: u32, running: u32, kv_used_ppm: u32) -> Gauges {
    Gauges { waiting, running: Some(running), kv_used_ppm: Some(kv_used_ppm) }
}

#[test]
fn idle_endpoint_with_too_little_free_cache_has_nothing_to_wait_for() {
    // All of it is held by cached blocks of ended requests, which the engine evicts.
    for kv_used_ppm in [0, 1, 500_000, 990_000, 1_000_000] {
        assert_eq!(0, room_us(gauges(0, 0, kv_used_ppm), 4_000, 0), "{kv_used_ppm}");
    }
}

#[test]
fn prompt_waits_until_running_requests_and_those_ahead_free_enough_room() {
    // 8,000 of 10,000 tokens are held and end within 5 s; 2,000 of the 4,000 are missing.
    assert_eq!(1_250_000, room_us(gauges(0, 8, 800_000), 10_000, 0));
    // Nothing runs yet, but 8,000 tokens ahead will.
    assert_eq!(1_250_000, room_us(gauges(0, 0, 0), 10_000, 8_000));
    // Ten caches full of prompts ahead take about ten times as long as one.
    assert_eq!(47_000_000, room_us(gauges(0, 0, 0), 10_000, 100_000));
}

#[test]
fn prompt_above_the_capacity_counts_one_minute() {
    for kv_used_ppm in [0, 1, 1_000_000] {
        assert_eq!(60_000_000, room_us(gauges(0, 0, kv_used_ppm), 3_999, 0), "{kv_used_ppm}");
    }
    assert_eq!(60_000_000, room_us(gauges(0, 8, 900_000), 3_999, 0));
    // What exceeds the capacity does not count again as tokens to wait for.
    assert_eq!(60_000_000, room_us(gauges(0, 1, 1_000), 3_000, 0));
}

#[test]
fn no_expected_time_exceeds_ten_minutes() {
    const BOUND_US: u64 = 600_000_000;
    for (gauges, kv_tokens, ahead, rate) in [
        (gauges(u32::MAX, 1, 1_000_000), 4_000, 0, 8_000),
        (gauges(0, 1, 1), 4_000, u64::MAX / 2, 8_000),
        (gauges(0, 1, 1), u64::MAX, u64::MAX / 2, 8_000),
        (gauges(0, 1, 1_000_000), 1, 1 << 40, 1),
    ] {
        let found = terms("m", |endpoint, local| {
            endpoint.observed.gauges = gauges;
            endpoint.observed.capacity = Some(Capacity { kv_tokens });
            endpoint.assessment.rates.prefill_tokens_per_second = rate;
            endpoint.assessment.rates.decode_token_us = u32::MAX;
            local.own[0].prefill_tokens = ahead;
        });
        assert!(found.prefill_done_us() <= BOUND_US && found.expected_duration_us() <= BOUND_US, "{found:?}");
    }
    assert_eq!(
        BOUND_US,
        room_us(gauges(u32::MAX, 1, 1_000_000), 4_000, 0),
        "a long queue at a full endpoint"
    );
}
