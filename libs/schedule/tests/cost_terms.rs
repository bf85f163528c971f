//! Tests of the cost terms.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Arc;

use signalbox_schedule::{CostTerms, DecisionInputs, EndpointCosts, LeastTime, Tier};
use signalbox_state::{
    AdapterResidency, Assessment, Circuit, EndpointState, LocalState, Observed, PeerLoad, PrefixMatches,
    ScrapeStatus, View,
};
use signalbox_types::{Adapters, EndpointSpec, Engine, Load, Origin, Rates, Request};

const SETTINGS: fn() -> LeastTime = LeastTime::default;

fn endpoint(name: &str) -> EndpointState {
    let address = "10.0.0.1:8000".parse().unwrap();
    let (name, metrics_url, labels) = (name.to_owned(), String::new(), BTreeMap::new());
    let spec = EndpointSpec { name, address, metrics_url, engine: Engine::Vllm, labels };
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
        origin: Origin(1),
        own,
        prefilling_ms: Vec::new(),
        peer_load: PeerLoad::Current,
        adapter_sent_to,
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
    let seen = Adapters { slots: 2, running: names(running), waiting: Vec::new() };
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
    let tier = |circuit, requests| {
        let assessment = Assessment { circuit, ..Assessment::default() };
        let found = terms("m", |endpoint, local| {
            endpoint.assessment = assessment;
            local.own[0].requests = requests;
        });
        found.tier
    };
    assert_eq!(Tier::Failing, tier(Circuit::Open, 0));
    assert_eq!(Tier::Open, tier(Circuit::HalfOpen, 0));
    assert_eq!(Tier::Failing, tier(Circuit::HalfOpen, 1));
    assert_eq!(Tier::Open, tier(Circuit::Closed, 9));
    assert!(Tier::Stale < Tier::Failing && Tier::Failing < Tier::Down);
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
fn prompt_delays_half_as_many_requests_as_wait_now() {
    let load = Load { requests: 7, prefills: 3, prefill_tokens: 8_000 };
    let found = terms("m", |_, local| local.own[0] = load);
    assert_eq!((1_000_000, 500_000, 750_000), (found.wait_us, found.prefill_us, found.others_us));
    assert_eq!(1_000_000 + 500_000 + 750_000 + 16 * 7 * 350, found.total_us());
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
