//! Tests of recordings: a replay gives the recorded decision.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use signalbox_schedule::{
    Decision, Filter, FilterStep, InvalidRecording, LeastTime, Metric, Picker, Policy, PrefixAffinity,
    Recording, SEEDS, Scorer, ScorerStep, SessionAffinity, Verdict, Weighted, decide,
};
use signalbox_state::{
    AdapterResidency, Assessment, Circuit, EndpointState, LocalState, ModelCircuit, Observed, PrefixMatches,
    ScrapeStatus, View,
};
use signalbox_types::{
    Adapters, Capacity, EndpointKey, EndpointSpec, Engine, Gauges, Incarnation, Load, MetricsTls, ModelKey,
    Origin, Rates, Request, Subset, Version,
};

fn load() -> impl Strategy<Value = Load> {
    (0_u32..50, 0_u64..50_000).prop_map(|(requests, prefill_tokens)| Load {
        requests,
        prefills: requests / 2,
        prefill_tokens,
    })
}

fn observed() -> impl Strategy<Value = Observed> {
    let scrape_status = prop_oneof![
        Just(ScrapeStatus::Fresh),
        Just(ScrapeStatus::Stale),
        Just(ScrapeStatus::Unknown),
        Just(ScrapeStatus::Down)
    ];
    let gauges = (0_u32..20, option::of(0_u32..300), option::of(0_u32..=1_000_000))
        .prop_map(|(waiting, running, kv_used_ppm)| Gauges { waiting, running, kv_used_ppm });
    let capacity = option::of((0_u64..1_000_000).prop_map(|kv_tokens| Capacity { kv_tokens }));
    (scrape_status, gauges, capacity, 0_u32..10, any::<u64>()).prop_map(
        |(scrape_status, gauges, capacity, unbooked_requests, incarnation)| Observed {
            scrape_status,
            gauges,
            capacity,
            unbooked_requests,
            incarnation: Incarnation(incarnation),
            ..Observed::default()
        },
    )
}

fn assessment() -> impl Strategy<Value = Assessment> {
    let circuit = prop_oneof![Just(Circuit::Closed), Just(Circuit::HalfOpen(None)), Just(Circuit::Open)];
    let rates =
        (0_u32..20_000, 0_u32..50_000, 0_u32..2_000).prop_map(|(prefill, decode, interference)| Rates {
            prefill_tokens_per_second: prefill,
            decode_token_us: decode,
            decode_interference_us: interference,
        });
    let models = option::of(circuit.clone());
    (rates, circuit, 0_u8..=100, models).prop_map(|(rates, circuit, ramp_percent, model)| Assessment {
        rates,
        circuit,
        ramp_percent,
        model_circuits: model
            .map(|circuit| ModelCircuit { model: ModelKey::of("adapter-1"), circuit })
            .into_iter()
            .collect(),
    })
}

fn residency() -> impl Strategy<Value = AdapterResidency> {
    let names = || vec(0_u8..6, 0..4).prop_map(sorted);
    (0_u32..4, names(), names(), names()).prop_map(|(slots, running, device, host)| AdapterResidency {
        reported: Adapters { slots, running, ..Adapters::default() },
        device,
        host,
    })
}

fn sorted(mut names: Vec<u8>) -> Vec<Arc<str>> {
    names.sort_unstable();
    names.dedup();
    names.into_iter().map(|name| format!("adapter-{name}").into()).collect()
}

fn endpoint() -> impl Strategy<Value = EndpointState> {
    let labels = (option::of("[a-c]"), any::<bool>());
    (0_u16..1_000, labels, observed(), assessment(), option::of(residency()), any::<u32>()).prop_map(
        |(number, (tier, is_draining), observed, assessment, residency, cold_placement_seq)| {
            let [high, low] = number.to_be_bytes();
            let mut endpoint = EndpointState::new(Arc::new(EndpointSpec {
                name: format!("pod-{number}"),
                address: ([10, 0, high, low], 8_000).into(),
                metrics_url: String::new(),
                engine: Engine::Sglang,
                labels: tier.map(|tier| ("tier".to_owned(), tier)).into_iter().collect::<BTreeMap<_, _>>(),
                is_draining,
                metrics_tls: MetricsTls::Verified,
            }));
            (endpoint.observed, endpoint.assessment) = (observed, assessment);
            endpoint.adapters = residency.map(Arc::new);
            endpoint.cold_placement_seq = cold_placement_seq.into();
            endpoint
        },
    )
}

fn view() -> impl Strategy<Value = View> {
    (vec(endpoint(), 0..8), option::of((any::<u64>(), any::<u64>()))).prop_map(|(mut endpoints, version)| {
        endpoints.sort_by_key(|endpoint| endpoint.key);
        endpoints.dedup_by_key(|endpoint| endpoint.key);
        let mut view = View::default();
        view.version = version.map(|(epoch, seq)| Version { epoch, seq });
        let residencies = endpoints.iter().filter_map(|endpoint| endpoint.adapters.as_deref());
        view.adapters = Arc::new(residencies.flat_map(AdapterResidency::names).cloned().collect());
        view.endpoints = endpoints.into_iter().map(Arc::new).collect();
        view
    })
}

fn request() -> impl Strategy<Value = Request> {
    let subset = option::of(vec(0_u8..4, 0..4).prop_map(|hosts| {
        let allowed: Vec<_> = hosts.iter().map(|host| format!("10.0.0.{host}")).collect();
        allowed.iter().map(String::as_str).collect::<Subset>()
    }));
    let headers = vec(("x-session".prop_map(String::from), "[a-z]{0,9}"), 0..2);
    (0_u8..8, 0_u64..50_000, option::of(0_u64..10_000), subset, headers).prop_map(
        |(model, prompt_tokens, max_output_tokens, subset, headers)| Request {
            model: format!("adapter-{model}"),
            prompt_tokens,
            max_output_tokens,
            subset,
            headers,
            ..Request::default()
        },
    )
}

fn weighted() -> impl Strategy<Value = Weighted> {
    let session = || SessionAffinity::Id { headers: vec!["x-session".to_owned()] };
    let filter = (0.0..=1.0, 0.0..=1.0).prop_map(move |(threshold, exploration)| {
        let affinity = PrefixAffinity {
            threshold,
            exploration,
            max_penalty_ms: 18_000.0,
            peak_tokens_per_second: 5_000.0,
        };
        [Filter::Session(session()), Filter::PrefixAffinity(affinity)]
    });
    let scorer = prop_oneof![
        Just(Scorer::Least(Metric::WaitingQueue)),
        Just(Scorer::KvCacheFree),
        Just(Scorer::LoraAffinity),
        Just(Scorer::NoHitLru),
        (0.0..1.0, 1.0..1e5_f64)
            .prop_map(|(length_weight, scale_tokens)| Scorer::PrefixCache { length_weight, scale_tokens }),
        (1.0..1e9_f64).prop_map(|threshold_tokens| Scorer::TokenLoad { threshold_tokens }),
    ];
    let picker = prop_oneof![Just(Picker::MaxScore), Just(Picker::Random), Just(Picker::WeightedRandom)];
    (filter, vec((scorer, 0.0..10.0_f64), 0..4), picker).prop_map(|(filters, scorers, picker)| Weighted {
        filters: filters.map(|filter| FilterStep { name: "filter".to_owned(), filter }).to_vec(),
        scorers: scorers
            .into_iter()
            .map(|(scorer, weight)| ScorerStep { name: "scorer".to_owned(), scorer, weight })
            .collect(),
        picker,
        cost_settings: LeastTime::default(),
    })
}

fn policy() -> impl Strategy<Value = Policy> {
    let least_time = (0_u64..10_000, 0_u64..1_000_000).prop_map(|(service_ms, near_tie_us)| {
        Policy::LeastTime(LeastTime { service_ms, near_tie_us, ..LeastTime::default() })
    });
    prop_oneof![least_time, weighted().prop_map(Policy::Weighted)]
}

fn recording() -> impl Strategy<Value = Recording> {
    (view(), request(), policy(), vec((load(), load(), 0_usize..600), 8), any::<u64>(), SEEDS, any::<bool>())
        .prop_map(|(view, request, policy, states, origin, seed, is_outdated)| {
            let own = view.endpoints.iter().zip(&states).map(|(_, (own, ..))| *own).collect();
            let peers = view.endpoints.iter().zip(&states).filter(|_| !is_outdated);
            let peers = peers.map(|(_, (_, peers, _))| *peers).collect();
            let prefilling_ms = states.iter().map(|(.., held)| *held as u64).collect();
            let blocks = view.endpoints.iter().zip(&states).map(|(_, (.., held))| *held).collect();
            let adapter_sent_to = view.endpoints.iter().take(2).map(|endpoint| endpoint.key).collect();
            let probed = view.endpoints.iter().skip(1).take(1).map(|endpoint| endpoint.key).collect();
            let unserved = states.iter().take(view.endpoints.len()).map(|(own, ..)| *own).collect();
            let mut recording = Recording {
                format_version: Recording::FORMAT,
                number: 7,
                at_unix_ms: 1_700_000_000_000,
                request_id: Some("request-1".to_owned()),
                view_age_ms: 12,
                local: LocalState {
                    origin: Origin(origin),
                    own,
                    peers,
                    prefilling_ms,
                    adapter_sent_to,
                    probed,
                    unserved,
                },
                matches: PrefixMatches { blocks, total: 600 },
                view: Arc::new(view),
                request,
                policy: Arc::new(policy),
                seed,
                decision: Decision::NoEndpoint,
                waited: None,
            };
            let mut rng = SmallRng::seed_from_u64(seed);
            recording.decision = decide(&recording.inputs(), &recording.policy, &mut rng);
            recording
        })
}

proptest! {
    #[test]
    fn recording_round_trips_through_json_and_replays_the_same(recording in recording()) {
        let text = serde_json::to_string(&recording).unwrap();
        let read: Recording = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(&text, &serde_json::to_string(&read).unwrap());
        let replay = read.replay().unwrap();
        prop_assert_eq!(Verdict::Same, replay.verdict);
        prop_assert_eq!(recording.decision, replay.decision);
        prop_assert_eq!(recording.explain(), replay.explanation);
    }

    #[test]
    fn recording_survives_json_tools_that_use_floats(recording in recording()) {
        let rounded = as_floats(serde_json::to_value(&recording).unwrap(), "");
        let read: Recording = serde_json::from_value(rounded).unwrap();
        prop_assert_eq!(recording.decision, read.replay().unwrap().decision);
    }
}

/// Returns the document as a JSON tool with only floats writes it. Incarnations are left out: decisions do
/// not read them, and real ones are times that floats preserve.
fn as_floats(value: serde_json::Value, name: &str) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::Number(number) if number.is_u64() && name != "incarnation" => {
            Value::from(number.as_f64().unwrap() as u64)
        }
        Value::Array(values) => values.into_iter().map(|value| as_floats(value, name)).collect(),
        Value::Object(fields) => {
            let rounded = |(name, value): (String, Value)| {
                let value = as_floats(value, &name);
                (name, value)
            };
            Value::Object(fields.into_iter().map(rounded).collect())
        }
        other => other,
    }
}

const RECORDED: &str = include_str!("recording.json");

/// If this test fails, recordings are written differently, or give another decision than before. Once
/// recordings are released, [`Recording::FORMAT`] must grow with such a change; see
/// [`write_recorded_decision`].
#[test]
fn recorded_decision_replays_the_same() {
    let read: Recording = serde_json::from_str(RECORDED).unwrap();
    assert_eq!(Verdict::Same, read.replay().unwrap().verdict);
}

/// `cargo test -p signalbox-schedule --test recordings -- --ignored`
#[test]
#[ignore = "writes the file that other tests read"]
fn write_recorded_decision() {
    let endpoint = |index: u8| {
        let mut endpoint = EndpointState::new(Arc::new(EndpointSpec {
            name: format!("pod-{index}"),
            address: ([10, 0, 0, index], 8_000).into(),
            metrics_url: format!("http://10.0.0.{index}:8000/metrics"),
            engine: Engine::Vllm,
            labels: BTreeMap::new(),
            is_draining: false,
            metrics_tls: MetricsTls::Verified,
        }));
        endpoint.observed.scrape_status = ScrapeStatus::Fresh;
        endpoint.observed.gauges = Gauges { waiting: 0, running: Some(2), kv_used_ppm: Some(120_000) };
        Arc::new(endpoint)
    };
    let mut endpoints: Vec<_> = (1..=4).map(endpoint).collect();
    endpoints.sort_by_key(|endpoint| endpoint.key);
    let mut view = View::default();
    view.version = Some(Version { epoch: 1, seq: 2 });
    view.endpoints = endpoints.into_iter().collect();
    let own = vec![Load::ZERO; 4];
    let mut recording = Recording {
        format_version: Recording::FORMAT,
        number: 0,
        at_unix_ms: 1_700_000_000_000,
        request_id: Some("recorded".to_owned()),
        view_age_ms: 12,
        view: Arc::new(view),
        local: LocalState {
            origin: Origin(1),
            prefilling_ms: vec![40; own.len()],
            own,
            peers: vec![Load { requests: 2, ..Load::ZERO }; 4],
            adapter_sent_to: Default::default(),
            probed: Default::default(),
            unserved: Vec::new(),
        },
        matches: PrefixMatches { blocks: vec![4; 4], total: 10 },
        request: Request { model: "m".to_owned(), prompt_tokens: 640, ..Request::default() },
        policy: Arc::default(),
        seed: 4_503_599_627_370_495,
        decision: Decision::NoEndpoint,
        waited: None,
    };
    let mut rng = SmallRng::seed_from_u64(recording.seed);
    recording.decision = decide(&recording.inputs(), &recording.policy, &mut rng);
    let text = serde_json::to_string_pretty(&recording).unwrap();
    std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/recording.json"), text + "\n").unwrap();
}

#[test]
fn inconsistent_recordings_are_rejected() {
    let good: Recording = serde_json::from_str(RECORDED).unwrap();
    let error = |edit: fn(&mut Recording)| {
        let mut bad = good.clone();
        edit(&mut bad);
        bad.replay().unwrap_err()
    };
    let next = Recording::FORMAT + 1;
    assert_eq!(InvalidRecording::Format(next), error(|bad| bad.format_version = Recording::FORMAT + 1));
    assert!(matches!(error(|bad| bad.local.own.clear()), InvalidRecording::Length { list: "local.own", .. }));
    assert!(matches!(
        error(|bad| bad.local.peers.truncate(3)),
        InvalidRecording::Length { list: "local.peers", .. }
    ));
    assert!(matches!(
        error(|bad| bad.matches.blocks.push(1)),
        InvalidRecording::Length { list: "matches.blocks", .. }
    ));
    assert_eq!(InvalidRecording::Blocks, error(|bad| bad.matches.blocks[0] = usize::MAX));
    let reversed = error(|bad| {
        let mut view = View::clone(&bad.view);
        view.endpoints = view.endpoints.iter().rev().cloned().collect();
        bad.view = Arc::new(view);
    });
    assert!(matches!(reversed, InvalidRecording::Endpoint(_)));
    let renamed = error(|bad| {
        let mut view = View::clone(&bad.view);
        let mut endpoint = EndpointState::clone(&view.endpoints[0]);
        endpoint.key = EndpointKey(0);
        view.endpoints = [Arc::new(endpoint)].into_iter().collect();
        bad.view = Arc::new(view);
    });
    assert!(matches!(renamed, InvalidRecording::Endpoint(_)));
}
