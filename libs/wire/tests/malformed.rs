//! What no peer of this version would send is an error, and never more than that.

use proptest::collection::vec;
use proptest::prelude::{any, proptest};
use prost::Message;
use signalbox_protos::signalbox::v1 as pb;
use signalbox_wire::WireError;

fn frame(kind: pb::frame::Frame) -> Result<signalbox_state::Frame, WireError> {
    signalbox_wire::frame(pb::Frame { frame: Some(kind), hello: None })
}

fn change(kind: pb::change::Change) -> Result<signalbox_state::Frame, WireError> {
    let changes = vec![pb::Change { change: Some(kind), models: None }];
    frame(pb::frame::Frame::Delta(pb::Delta { epoch: 1, from: 0, to: 1, changes }))
}

fn entry(kind: pb::snapshot_entry::Entry) -> Result<signalbox_state::Frame, WireError> {
    frame(pb::frame::Frame::SnapshotEntry(pb::SnapshotEntry { entry: Some(kind), models: None }))
}

fn spec() -> pb::EndpointSpec {
    let (address, engine) = ("127.0.0.1:80".to_owned(), "vllm".to_owned());
    pb::EndpointSpec { name: "pod".to_owned(), address, engine, ..pb::EndpointSpec::default() }
}

fn member() -> pb::EndpointEntry {
    let endpoint = signalbox_types::EndpointKey::of("pod").0;
    let gauges = Some(pb::Gauges::default());
    let observed = Some(pb::Observed { endpoint, gauges, ..pb::Observed::default() });
    let assessment = Some(pb::Assessment::default());
    pb::EndpointEntry { spec: Some(spec()), observed, assessment, ..pb::EndpointEntry::default() }
}

fn run() -> pb::Run {
    let (holders, ends, used, confirmed) = (vec![7], vec![1], vec![4], Vec::new());
    pb::Run { parent: 0, start: 0, blocks: vec![2, 3], holders, ends, used, confirmed }
}

/// What the parts of these tests are made of is sound as it is.
#[test]
fn the_sound_is_taken() {
    assert!(entry(pb::snapshot_entry::Entry::Endpoint(member())).is_ok());
    assert!(entry(pb::snapshot_entry::Entry::Runs(pb::RunsEntry { runs: vec![run()] })).is_ok());
    assert!(change(pb::change::Change::EndpointSet(pb::EndpointSet { spec: Some(spec()) })).is_ok());
}

#[test]
fn a_frame_without_its_parts() {
    use pb::frame::Frame as Kind;
    assert_eq!(Err(WireError::Missing("frame")), signalbox_wire::frame(pb::Frame::default()));
    assert_eq!(Err(WireError::Missing("format")), frame(Kind::SnapshotBegin(pb::SnapshotBegin::default())));
    assert_eq!(Err(WireError::Missing("entry")), frame(Kind::SnapshotEntry(pb::SnapshotEntry::default())));
    assert_eq!(Err(WireError::Missing("digest")), frame(Kind::SnapshotEnd(pb::SnapshotEnd::default())));
    assert_eq!(Err(WireError::Missing("digest")), frame(Kind::Heartbeat(pb::Heartbeat::default())));
    let changes = vec![pb::Change::default()];
    let delta = pb::Delta { epoch: 1, from: 0, to: 1, changes };
    assert_eq!(Err(WireError::Missing("change")), frame(Kind::Delta(delta)));
}

#[test]
fn a_change_without_its_parts() {
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
fn a_change_with_the_root_as_a_block() {
    use pb::change::Change as Kind;
    let refused = Err(WireError::Bounds("a block hash"));
    assert_eq!(refused, change(Kind::Placed(pb::Placed { endpoint: 1, anchor: 0, suffix: vec![3, 0] })));
}

#[test]
fn a_rule_without_targets_or_with_a_weight_that_is_none() {
    let refused = |targets: Vec<pb::RewriteTarget>| {
        let rules = vec![pb::RewriteRule { models: Vec::new(), targets }];
        let rewrites = vec![pb::ModelRewrite { rules, ..pb::ModelRewrite::default() }];
        let models = Some(pb::Models { objectives: Vec::new(), rewrites });
        frame(pb::frame::Frame::SnapshotEntry(pb::SnapshotEntry { entry: None, models })).unwrap_err()
    };
    assert_eq!(WireError::Missing("what a model becomes"), refused(Vec::new()));
    for weight in [0, 1_000_001] {
        let target = pb::RewriteTarget { model: "m".to_owned(), weight: Some(weight) };
        assert_eq!(WireError::Bounds("a weight"), refused(vec![target]));
    }
}

#[test]
fn an_observation_of_an_unknown_kind() {
    let (scrape_status, gauges) = (9, Some(pb::Gauges::default()));
    let observed = pb::Observed { scrape_status, gauges, ..pb::Observed::default() };
    assert_eq!(Err(WireError::Missing("scrape_status")), change(pb::change::Change::Observed(observed)));
}

#[test]
fn a_spec_that_cannot_be_read() {
    let set = |spec| change(pb::change::Change::EndpointSet(pb::EndpointSet { spec: Some(spec) }));
    let nowhere = set(pb::EndpointSpec { address: "pod:80".to_owned(), ..spec() });
    assert_eq!(Err(WireError::Address("pod:80".to_owned())), nowhere);
    let unbooked_requests = set(pb::EndpointSpec { engine: "other".to_owned(), ..spec() });
    assert!(matches!(unbooked_requests, Err(WireError::Engine(_))));
}

#[test]
fn an_endpoint_of_a_snapshot_without_its_parts_or_under_another_key() {
    let refused =
        |message: pb::EndpointEntry| entry(pb::snapshot_entry::Entry::Endpoint(message)).unwrap_err();
    assert_eq!(WireError::Missing("spec"), refused(pb::EndpointEntry { spec: None, ..member() }));
    assert_eq!(WireError::Missing("observed"), refused(pb::EndpointEntry { observed: None, ..member() }));
    let loads = vec![pb::OriginLoad { origin: 1, load: None }];
    assert_eq!(WireError::Missing("load"), refused(pb::EndpointEntry { loads, ..member() }));
    let spec = Some(pb::EndpointSpec { name: "other".to_owned(), ..spec() });
    assert_eq!(WireError::Bounds("the key of an endpoint"), refused(pb::EndpointEntry { spec, ..member() }));
}

#[test]
fn a_run_of_a_snapshot_that_is_none() {
    let refused =
        |run: pb::Run| entry(pb::snapshot_entry::Entry::Runs(pb::RunsEntry { runs: vec![run] })).unwrap_err();
    let broken = [
        pb::Run { blocks: Vec::new(), ..run() },
        pb::Run { holders: vec![7, 8], ..run() },
        pb::Run { ends: vec![1, 2], ..run() },
        pb::Run { used: Vec::new(), ..run() },
    ];
    for run in broken {
        assert_eq!(WireError::Bounds("a run of a snapshot"), refused(run));
    }
    assert_eq!(WireError::Bounds("a block hash"), refused(pb::Run { blocks: vec![2, 0], ..run() }));
    let confirmed = vec![pb::ConfirmedRun { endpoint: 7, tier: 3, from: 0, to: 1 }];
    assert_eq!(WireError::Missing("tier"), refused(pb::Run { confirmed, ..run() }));
}

#[test]
fn feedback_that_says_nothing_or_names_the_root_as_a_block() {
    let gauges = vec![pb::OriginGauge { endpoint: 1, load: None }];
    let batch = pb::FeedbackBatch { gauges, ..pb::FeedbackBatch::default() };
    assert_eq!(Err(WireError::Missing("load")), signalbox_wire::feedback(batch));
    let placements = vec![pb::Placement { suffix: vec![0], ..pb::Placement::default() }];
    let batch = pb::FeedbackBatch { placements, ..pb::FeedbackBatch::default() };
    assert_eq!(Err(WireError::Bounds("a block hash")), signalbox_wire::feedback(batch));
    let reply = pb::FeedbackReply { epoch: 1, reply: None };
    assert_eq!(Err(WireError::Missing("reply")), signalbox_wire::reply(&reply));
}

#[test]
fn a_report_or_an_assignment_of_an_unknown_kind() {
    let reports = vec![pb::Report { scrape_status: 4, ..pb::Report::default() }];
    let message = pb::CollectorMessage { reports, ..pb::CollectorMessage::default() };
    assert_eq!(Err(WireError::Missing("scrape_status")), signalbox_wire::reports(message));
    let endpoints = vec![pb::AssignedEndpoint { engine: String::new(), ..pb::AssignedEndpoint::default() }];
    let directive = pb::CollectorDirective { epoch: 1, endpoints };
    assert!(matches!(signalbox_wire::assigned(directive), Err(WireError::Engine(_))));
}

proptest! {
    /// Bytes that decode at all convert or are refused, and what they convert to can be sent on and applied.
    #[test]
    fn any_bytes(bytes in vec(any::<u8>(), 0..80), tag in 1_u8..7) {
        let mut framed = vec![tag << 3 | 2, bytes.len() as u8];
        framed.extend(&bytes);
        if let Ok(message) = pb::Frame::decode(framed.as_slice())
            && let Ok(frame) = signalbox_wire::frame(message)
        {
            assert_eq!(Ok(frame.clone()), signalbox_wire::frame(signalbox_wire::frame_message(&frame)));
            signalbox_state::StateReplica::default().apply(signalbox_state::FrameSource::Aggregator(0), frame);
        }
        if let Ok(message) = pb::FeedbackBatch::decode(bytes.as_slice()) {
            let _ = signalbox_wire::feedback(message);
        }
        if let Ok(message) = pb::CollectorMessage::decode(bytes.as_slice()) {
            let _ = signalbox_wire::reports(message);
        }
    }
}

#[test]
fn an_end_whose_status_or_address_is_none_is_refused() {
    let refused = |end: pb::RequestEnd| {
        let batch = pb::RequestEndBatch { ends: vec![end], hello: None };
        signalbox_wire::ended(batch).unwrap_err()
    };
    let served = "nowhere".to_owned();
    let address = refused(pb::RequestEnd { served: served.clone(), ..pb::RequestEnd::default() });
    assert_eq!(WireError::Address(served), address);
    let status = refused(pb::RequestEnd { status: 70_000, ..pb::RequestEnd::default() });
    assert_eq!(WireError::Bounds("a status"), status);
}
