//! Messages that no peer of this version sends are rejected with an error, and have no other effect.

use proptest::collection::vec;
use proptest::prelude::{any, proptest};
use prost::Message;
use signalbox_protos::signalbox::v1 as pb;
use signalbox_wire::WireError;

fn frame(kind: pb::frame::Frame) -> Result<signalbox_state::Frame, WireError> {
    signalbox_wire::decode_frame(pb::Frame { frame: Some(kind), hello: None })
}

fn delta(change: pb::Change) -> Result<signalbox_state::Frame, WireError> {
    let delta = pb::Delta { epoch: 1, from: 0, to: 1, changes: vec![change] };
    frame(pb::frame::Frame::Delta(delta.encode_to_vec().into()))
}

fn change(kind: pb::change::Change) -> Result<signalbox_state::Frame, WireError> {
    delta(pb::Change { change: Some(kind), ..pb::Change::default() })
}

fn entry(kind: pb::snapshot_entry::Entry) -> Result<signalbox_state::Frame, WireError> {
    frame(pb::frame::Frame::SnapshotEntry(pb::SnapshotEntry {
        entry: Some(kind),
        ..pb::SnapshotEntry::default()
    }))
}

fn spec() -> pb::EndpointSpec {
    let (address, engine) = ("127.0.0.1:80".to_owned(), "vllm".to_owned());
    pb::EndpointSpec { name: "pod".to_owned(), address, engine, ..pb::EndpointSpec::default() }
}

fn endpoint_state() -> pb::EndpointState {
    let endpoint = signalbox_types::EndpointKey::of("pod").0;
    let gauges = Some(pb::Gauges::default());
    let observed = Some(pb::Observed { endpoint, gauges, ..pb::Observed::default() });
    let assessment = Some(pb::Assessment::default());
    pb::EndpointState { spec: Some(spec()), observed, assessment, ..pb::EndpointState::default() }
}

fn run() -> pb::Run {
    let (holders, ends, used, confirmed) = (vec![7], vec![1], vec![4], Vec::new());
    pb::Run { parent: 0, start: 0, blocks: vec![2, 3], holders, ends, used, confirmed }
}

/// The messages that these tests modify are valid on their own.
#[test]
fn valid_messages_are_accepted() {
    assert!(entry(pb::snapshot_entry::Entry::Endpoint(endpoint_state())).is_ok());
    assert!(entry(pb::snapshot_entry::Entry::Runs(pb::RunsEntry { runs: vec![run()] })).is_ok());
    assert!(change(pb::change::Change::EndpointSet(pb::EndpointSet { spec: Some(spec()) })).is_ok());
}

#[test]
fn frame_without_required_parts_is_rejected() {
    use pb::frame::Frame as Kind;
    assert_eq!(Err(WireError::Missing("frame")), signalbox_wire::decode_frame(pb::Frame::default()));
    assert_eq!(Err(WireError::Missing("format")), frame(Kind::SnapshotBegin(pb::SnapshotBegin::default())));
    assert_eq!(Err(WireError::Missing("entry")), frame(Kind::SnapshotEntry(pb::SnapshotEntry::default())));
    assert_eq!(Err(WireError::Missing("digest")), frame(Kind::SnapshotEnd(pb::SnapshotEnd::default())));
    assert_eq!(Err(WireError::Missing("digest")), frame(Kind::Heartbeat(pb::Heartbeat::default())));
    assert_eq!(Err(WireError::Missing("change")), delta(pb::Change::default()));
    assert_eq!(Err(WireError::Bounds("delta")), frame(Kind::Delta(vec![0x22, 0x05, 0x00].into())));
}

#[test]
fn change_without_required_parts_is_rejected() {
    use pb::change::Change as Kind;
    assert_eq!(Err(WireError::Missing("spec")), change(Kind::EndpointSet(pb::EndpointSet { spec: None })));
    assert_eq!(Err(WireError::Missing("gauges")), change(Kind::Observed(pb::Observed::default())));
    assert_eq!(
        Err(WireError::Missing("residency")),
        change(Kind::AdaptersChanged(pb::AdaptersChanged::default()))
    );
    assert_eq!(Err(WireError::Missing("assessment")), change(Kind::Assessed(pb::Assessed::default())));
    assert_eq!(Err(WireError::Missing("load")), change(Kind::LoadChanged(pb::LoadChanged::default())));
}

#[test]
fn root_as_a_placed_block_is_rejected() {
    use pb::change::Change as Kind;
    let rejected = Err(WireError::Bounds("block hash"));
    assert_eq!(rejected, change(Kind::Placed(pb::Placed { endpoint: 1, anchor: 0, suffix: vec![3, 0] })));
}

#[test]
fn rewrite_rule_without_targets_or_with_invalid_weight_is_rejected() {
    let rejected = |targets: Vec<pb::RewriteTarget>| {
        let rules = vec![pb::RewriteRule { models: Vec::new(), targets }];
        let rewrites = vec![pb::ModelRewrite { rules, ..pb::ModelRewrite::default() }];
        let models = Some(pb::Models { objectives: Vec::new(), rewrites });
        frame(pb::frame::Frame::SnapshotEntry(pb::SnapshotEntry { models, ..pb::SnapshotEntry::default() }))
            .unwrap_err()
    };
    assert_eq!(WireError::Missing("rewrite target"), rejected(Vec::new()));
    for weight in [0, 1_000_001] {
        let target = pb::RewriteTarget { model: "m".to_owned(), weight: Some(weight) };
        assert_eq!(WireError::Bounds("rewrite weight"), rejected(vec![target]));
    }
}

#[test]
fn token_ratio_or_capacity_out_of_bounds_is_rejected() {
    for (bytes_per_token_milli, media_percent, output_tokens) in [
        (0, 100, 256),
        (999, 100, 256),
        (16_001, 100, 256),
        (4_000, 11, 256),
        (4_000, 801, 256),
        (4_000, 100, 0),
        (4_000, 100, 65_537),
    ] {
        let output_tokens = Some(output_tokens);
        let ratio = pb::TokenRatio { model: 1, bytes_per_token_milli, media_percent, output_tokens };
        let delta = delta(pb::Change { token_ratio: Some(ratio), ..pb::Change::default() });
        let entry = pb::SnapshotEntry { token_ratios: vec![ratio], ..pb::SnapshotEntry::default() };
        for rejected in [delta, frame(pb::frame::Frame::SnapshotEntry(entry))] {
            assert_eq!(Err(WireError::Bounds("token ratio")), rejected);
        }
    }
    for capacity_percent in [0, 101, 256] {
        let accuracy = Some(pb::CacheAccuracy { mean_error_tokens: None, capacity_percent });
        let changed = pb::CacheAccuracyChanged { endpoint: 1, accuracy };
        let rejected = delta(pb::Change { cache_accuracy: Some(changed), ..pb::Change::default() });
        assert_eq!(Err(WireError::Bounds("capacity percent")), rejected);
    }
}

#[test]
fn model_circuits_that_are_unsorted_too_many_or_closed_are_rejected() {
    let assessed = |circuits: Vec<(u64, pb::Circuit)>| {
        let circuits = circuits.into_iter();
        let model_circuits = circuits
            .map(|(model, circuit)| pb::ModelCircuit { model, circuit: circuit.into(), prober: 0 })
            .collect();
        let assessment = Some(pb::Assessment { model_circuits, ..pb::Assessment::default() });
        let changed = change(pb::change::Change::Assessed(pb::Assessed {
            endpoint: 1,
            assessment: assessment.clone(),
        }));
        let state =
            entry(pb::snapshot_entry::Entry::Endpoint(pb::EndpointState { assessment, ..endpoint_state() }));
        assert_eq!(changed.as_ref().err(), state.as_ref().err());
        changed.map(drop)
    };
    let open =
        |models: std::ops::Range<u64>| models.map(|model| (model, pb::Circuit::Open)).collect::<Vec<_>>();
    assert_eq!(Ok(()), assessed(open(0..64)));
    let rejected = Err(WireError::Bounds("model circuits"));
    assert_eq!(rejected, assessed(open(0..65)));
    assert_eq!(rejected, assessed(vec![(2, pb::Circuit::Open), (1, pb::Circuit::Open)]));
    assert_eq!(rejected, assessed(vec![(1, pb::Circuit::Open), (1, pb::Circuit::HalfOpen)]));
    assert_eq!(rejected, assessed(vec![(1, pb::Circuit::Open), (2, pb::Circuit::Closed)]));
}

#[test]
fn unknown_scrape_status_is_rejected() {
    let (scrape_status, gauges) = (9, Some(pb::Gauges::default()));
    let observed = pb::Observed { scrape_status, gauges, ..pb::Observed::default() };
    assert_eq!(Err(WireError::Missing("scrape_status")), change(pb::change::Change::Observed(observed)));
}

#[test]
fn invalid_endpoint_spec_is_rejected() {
    let set = |spec| change(pb::change::Change::EndpointSet(pb::EndpointSet { spec: Some(spec) }));
    let bad_address = set(pb::EndpointSpec { address: "pod:80".to_owned(), ..spec() });
    assert_eq!(Err(WireError::Address("pod:80".to_owned())), bad_address);
    let unknown_engine = set(pb::EndpointSpec { engine: "other".to_owned(), ..spec() });
    assert!(matches!(unknown_engine, Err(WireError::Engine(_))));
}

#[test]
fn incomplete_or_mismatched_endpoint_state_is_rejected() {
    let rejected =
        |message: pb::EndpointState| entry(pb::snapshot_entry::Entry::Endpoint(message)).unwrap_err();
    assert_eq!(WireError::Missing("spec"), rejected(pb::EndpointState { spec: None, ..endpoint_state() }));
    assert_eq!(
        WireError::Missing("observed"),
        rejected(pb::EndpointState { observed: None, ..endpoint_state() })
    );
    let loads = vec![pb::OriginLoad { origin: 1, load: None }];
    assert_eq!(WireError::Missing("load"), rejected(pb::EndpointState { loads, ..endpoint_state() }));
    let spec = Some(pb::EndpointSpec { name: "other".to_owned(), ..spec() });
    assert_eq!(WireError::Bounds("endpoint key"), rejected(pb::EndpointState { spec, ..endpoint_state() }));
}

#[test]
fn invalid_snapshot_run_is_rejected() {
    let rejected =
        |run: pb::Run| entry(pb::snapshot_entry::Entry::Runs(pb::RunsEntry { runs: vec![run] })).unwrap_err();
    let broken = [
        pb::Run { blocks: Vec::new(), ..run() },
        pb::Run { holders: vec![7, 8], ..run() },
        pb::Run { ends: vec![1, 2], ..run() },
        pb::Run { used: Vec::new(), ..run() },
    ];
    for run in broken {
        assert_eq!(WireError::Bounds("snapshot run"), rejected(run));
    }
    assert_eq!(WireError::Bounds("block hash"), rejected(pb::Run { blocks: vec![2, 0], ..run() }));
    let confirmed = vec![pb::ConfirmedRun { endpoint: 7, residency: 3, from: 0, to: 1 }];
    assert_eq!(WireError::Missing("residency"), rejected(pb::Run { confirmed, ..run() }));
}

#[test]
fn incomplete_feedback_or_root_as_a_block_is_rejected() {
    let gauges = vec![pb::InFlightGauge { endpoint: 1, load: None }];
    let batch = pb::FeedbackBatch { gauges, ..pb::FeedbackBatch::default() };
    assert_eq!(Err(WireError::Missing("load")), signalbox_wire::decode_feedback(batch));
    let placements = vec![pb::Placement { suffix: vec![0], ..pb::Placement::default() }];
    let batch = pb::FeedbackBatch { placements, ..pb::FeedbackBatch::default() };
    assert_eq!(Err(WireError::Bounds("block hash")), signalbox_wire::decode_feedback(batch));
    let reply = pb::FeedbackReply { epoch: 1, reply: None };
    assert_eq!(Err(WireError::Missing("reply")), signalbox_wire::decode_feedback_reply(&reply));
}

#[test]
fn unknown_report_status_or_assigned_engine_is_rejected() {
    let reports = vec![pb::Report { scrape_status: 4, ..pb::Report::default() }];
    let message = pb::CollectorMessage { reports, ..pb::CollectorMessage::default() };
    assert_eq!(Err(WireError::Missing("scrape_status")), signalbox_wire::decode_reports(message));
    let endpoints = vec![pb::AssignedEndpoint { engine: String::new(), ..pb::AssignedEndpoint::default() }];
    let assignment = pb::CollectorAssignment { epoch: 1, endpoints };
    assert!(matches!(signalbox_wire::decode_assignment(assignment), Err(WireError::Engine(_))));
}

proptest! {
    /// Bytes that decode to a message are converted or rejected. Converted messages can be encoded and
    /// applied.
    #[test]
    fn arbitrary_bytes_are_converted_or_rejected(bytes in vec(any::<u8>(), 0..80), tag in 1_u8..7) {
        let mut framed = vec![tag << 3 | 2, bytes.len() as u8];
        framed.extend(&bytes);
        if let Ok(message) = pb::Frame::decode(framed.as_slice())
            && let Ok(frame) = signalbox_wire::decode_frame(message)
        {
            assert_eq!(Ok(frame.clone()), signalbox_wire::decode_frame(signalbox_wire::encode_frame(&frame)));
            signalbox_state::StateReplica::default().apply(signalbox_state::FrameSource::Aggregator(0), frame);
        }
        if let Ok(message) = pb::FeedbackBatch::decode(bytes.as_slice()) {
            let _ = signalbox_wire::decode_feedback(message);
        }
        if let Ok(message) = pb::CollectorMessage::decode(bytes.as_slice()) {
            let _ = signalbox_wire::decode_reports(message);
        }
    }
}

#[test]
fn request_end_with_invalid_status_or_address_is_rejected() {
    let rejected = |end: pb::RequestEnd| {
        let batch = pb::RequestEndBatch { ends: vec![end], hello: None };
        signalbox_wire::decode_request_ends(batch).unwrap_err()
    };
    let served = "nowhere".to_owned();
    let address = rejected(pb::RequestEnd { served: served.clone(), ..pb::RequestEnd::default() });
    assert_eq!(WireError::Address(served), address);
    let status = rejected(pb::RequestEnd { status: 70_000, ..pb::RequestEnd::default() });
    assert_eq!(WireError::Bounds("status"), status);
}

#[test]
fn adapters_beyond_their_limits_are_rejected() {
    let names = |count: usize| (0..count).map(|number| format!("adapter-{number:05}")).collect::<Vec<_>>();
    let set = |reported: pb::Adapters, device: Vec<String>| {
        let residency = pb::AdapterResidency { reported: Some(reported), device, host: Vec::new() };
        entry(pb::snapshot_entry::Entry::Endpoint(pb::EndpointState {
            adapters: Some(residency),
            ..endpoint_state()
        }))
    };
    assert!(
        set(pb::Adapters { slots: 2, running: names(1_024), ..pb::Adapters::default() }, names(9)).is_ok()
    );
    for reported in [
        pb::Adapters { slots: u32::MAX, ..pb::Adapters::default() },
        pb::Adapters { running: names(1_025), ..pb::Adapters::default() },
        pb::Adapters { waiting: vec!["x".repeat(129)], ..pb::Adapters::default() },
        pb::Adapters { waiting: vec!["b".to_owned(), "a".to_owned()], ..pb::Adapters::default() },
    ] {
        assert_eq!(Err(WireError::Bounds("adapters")), set(reported, Vec::new()));
    }
    let rejected = set(pb::Adapters::default(), names(20_000));
    assert_eq!(Err(WireError::Bounds("adapter residency")), rejected);
}
