//! Decisions as OpenTelemetry spans.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use signalbox_schedule::Recording;
use signalbox_telemetry::TraceSettings;

use crate::otlp_collector::{OtlpCollector, number, text, texts};
use crate::replica::{PROMPT_BYTES, Replica};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

fn settings(collector: SocketAddr, more: &[(&str, &str)]) -> Option<TraceSettings> {
    let endpoint = format!("http://{collector}");
    let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str())];
    let value = |name: &str| variables.iter().chain(more).find(|(known, _)| *known == name);
    TraceSettings::read("signalbox-epp", |name| value(name).map(|(_, value)| (*value).to_owned())).unwrap()
}

fn traceparent(flags: &str) -> String {
    format!("00-{TRACE}-{PARENT}-{flags}")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn a_decision_is_a_child_span_of_the_gateway_span() {
    let (address, collector) = OtlpCollector::start().await;
    let more = [
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=secret"),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test"),
    ];
    let replica = Replica::start(8, settings(address, &more)).await;
    let parent = traceparent("01");
    let headers =
        [("traceparent", parent.as_str()), ("tracestate", "vendor=value"), ("x-request-id", "request-7")];
    assert!(replica.ask(&headers).await);
    let recordings: Vec<Recording> =
        serde_json::from_str(&replica.get("/decisions?full=true&request_id=request-7").await).unwrap();
    // Stopping exports the spans without waiting for the next batch.
    replica.stop().await;

    let [(metadata, batch)] = collector.batches().try_into().unwrap();
    assert_eq!("secret", metadata.get("x-key").unwrap());
    let resource = &batch.resource_spans[0].resource.as_ref().unwrap().attributes;
    assert_eq!(Some("signalbox-epp"), text(resource, "service.name"));
    assert_eq!(Some("test"), text(resource, "deployment.environment.name"));

    let [span] = collector.spans().try_into().unwrap();
    assert_eq!((TRACE, PARENT), (hex(&span.trace_id).as_str(), hex(&span.parent_span_id).as_str()));
    assert_eq!(("decide", "vendor=value"), (span.name.as_str(), span.trace_state.as_str()));
    assert!(span.start_time_unix_nano <= span.end_time_unix_nano);

    let [recording] = recordings.try_into().unwrap();
    let why = recording.replay().unwrap().explanation;
    let attributes = &span.attributes;
    assert_eq!(why.winner.as_deref(), text(attributes, "signalbox.endpoint"));
    assert_eq!(Some(why.candidates[1].endpoint.as_str()), text(attributes, "signalbox.runner_up"));
    assert_eq!(why.version.as_deref(), text(attributes, "signalbox.view.version"));
    assert_eq!(Some("request-7"), text(attributes, "signalbox.request_id"));
    assert_eq!(Some("llama"), text(attributes, "gen_ai.request.model"));
    assert_eq!(Some("least_time"), text(attributes, "signalbox.policy"));
    assert_eq!(Some("open"), text(attributes, "signalbox.tier"));
    let expected = [
        ("signalbox.prompt_tokens", PROMPT_BYTES as u64 / 4),
        ("signalbox.match_blocks", 0),
        ("signalbox.cached_tokens", 0),
        ("signalbox.view.age_ms", recording.view_age_ms),
        ("signalbox.prefill_us", why.candidates[0].terms.prefill_us),
        ("signalbox.decode_us", why.candidates[0].terms.decode_us),
        ("signalbox.total_us", why.candidates[0].total_us),
        ("signalbox.seed", recording.seed),
    ];
    for (name, expected) in expected {
        assert_eq!(Some(expected as i64), number(attributes, name), "{name}");
    }
    let [event] = span.events.try_into().unwrap();
    let candidates = texts(&event.attributes, "signalbox.candidates");
    let candidates: Vec<Value> = candidates.iter().map(|text| serde_json::from_str(text).unwrap()).collect();
    assert_eq!(serde_json::to_value(&why.candidates).unwrap(), Value::from(candidates));
}

#[tokio::test]
async fn a_request_without_a_valid_parent_starts_a_trace() {
    let (address, collector) = OtlpCollector::start().await;
    let replica = Replica::start(8, settings(address, &[])).await;
    assert!(replica.ask(&[]).await);
    assert!(replica.ask(&[("traceparent", "nonsense")]).await);
    replica.stop().await;
    let [one, other] = collector.spans().try_into().unwrap();
    assert!(one.parent_span_id.is_empty() && other.parent_span_id.is_empty());
    assert_ne!(one.trace_id, other.trace_id);
}

#[tokio::test]
async fn unsampled_and_disabled_traces_are_not_exported() {
    let (address, collector) = OtlpCollector::start().await;
    let replica = Replica::start(8, settings(address, &[])).await;
    assert!(replica.ask(&[("traceparent", &traceparent("00"))]).await);
    replica.stop().await;
    let off = settings(address, &[("OTEL_SDK_DISABLED", "true")]);
    assert!(off.is_none());
    let replica = Replica::start(0, off).await;
    assert!(replica.ask(&[("traceparent", &traceparent("01"))]).await);
    assert!(!replica.get("/metrics").await.contains("signalbox_epp_spans"));
    replica.stop().await;
    assert!(collector.batches().is_empty());
}

#[tokio::test]
async fn spans_that_cannot_be_exported_are_counted_and_block_nothing() {
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let more = [
        ("OTEL_BSP_MAX_QUEUE_SIZE", "1"),
        ("OTEL_BSP_SCHEDULE_DELAY", "3600000"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "50"),
    ];
    let replica = Replica::start(8, settings(unused, &more)).await;
    let count = async |outcome: &str| -> u64 {
        let line = format!("signalbox_epp_spans_total{{outcome=\"{outcome}\"}} ");
        let page = replica.get("/metrics").await;
        page.lines().find_map(|found| found.strip_prefix(&line)).unwrap().parse().unwrap()
    };
    let requests = 20;
    for _ in 0..requests {
        assert!(replica.ask(&[]).await);
    }
    while count("dropped").await + count("failed").await < requests - 1 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(0, count("exported").await);
    replica.stop().await;
}
