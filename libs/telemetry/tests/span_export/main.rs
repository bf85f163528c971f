//! Spans reach collectors over each protocol, with and without TLS.

#![expect(clippy::unwrap_used, reason = "a panic is how a test reports, also in helper functions")]

mod certificates;
mod collectors;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use prometheus_client::registry::Registry;
use signalbox_telemetry::{Span, TraceError, TraceSettings, Tracer};

use crate::certificates::Certificates;

const TRACE_ID: [u8; 16] = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736_u128.to_be_bytes();
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const UNSAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

type Variables = [(&'static str, String)];

/// Starts a tracer as configured by these variables.
fn tracer(variables: &Variables) -> Result<Tracer, TraceError> {
    let variables: BTreeMap<_, _> = variables.iter().cloned().collect();
    let settings = TraceSettings::read("test", |name| variables.get(name).cloned())?.unwrap();
    Tracer::start(settings, "test", &mut Registry::default())
}

/// Exports one span as configured by these variables.
async fn export(variables: &Variables) {
    let tracer = tracer(variables).unwrap();
    let active = tracer.start_span("decide", |name| (name == "traceparent").then_some(PARENT)).unwrap();
    let span = Span { ended: SystemTime::now(), failure: None, attributes: Vec::new(), event: None };
    tracer.end_span(active, span);
    Arc::new(tracer).stop(Duration::from_secs(60)).await;
}

fn contains(body: &[u8], part: &[u8]) -> bool {
    body.windows(part.len()).any(|window| window == part)
}

#[tokio::test]
async fn spans_are_sent_in_http_requests() {
    let (address, mut received) = collectors::start_http(None).await;
    let variables = [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf".to_owned()),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{address}")),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=secret".to_owned()),
    ];
    export(&variables).await;
    let request = received.try_recv().unwrap();
    assert_eq!("/v1/traces", request.path);
    assert_eq!(("application/x-protobuf", "secret"), {
        let header = |name| request.headers.get(name).unwrap().to_str().unwrap();
        (header("content-type"), header("x-key"))
    });
    assert!(contains(&request.body, &TRACE_ID) && contains(&request.body, b"decide"));
}

#[tokio::test]
async fn spans_are_sent_in_http_requests_over_tls_with_a_client_certificate() {
    let certificates = Certificates::new();
    let (address, mut received) = collectors::start_http(Some(&certificates)).await;
    let mut variables = certificates.variables();
    variables.extend([
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf".to_owned()),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", format!("https://localhost:{}/mine", address.port())),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip".to_owned()),
    ]);
    export(&variables).await;
    let request = received.try_recv().unwrap();
    assert_eq!("/mine", request.path);
    assert_eq!("gzip", request.headers.get("content-encoding").unwrap());
    assert!(!contains(&request.body, &TRACE_ID), "the body is compressed");
}

#[tokio::test]
async fn spans_are_sent_over_grpc_with_tls_and_a_client_certificate() {
    let certificates = Certificates::new();
    let (address, mut received) = collectors::start_grpc(&certificates).await;
    let mut variables = certificates.variables();
    // Without a scheme, a gRPC endpoint uses TLS.
    variables.push(("OTEL_EXPORTER_OTLP_ENDPOINT", format!("localhost:{}", address.port())));
    variables.push(("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip".to_owned()));
    export(&variables).await;
    let request = received.try_recv().unwrap();
    assert_eq!(TRACE_ID.as_slice(), request.resource_spans[0].scope_spans[0].spans[0].trace_id);
}

#[tokio::test]
async fn tls_file_that_cannot_be_used_is_named_with_its_variable() {
    let certificates = Certificates::new();
    let assert_named = |variable: &'static str, path: &Path, (protocol, endpoint): (&str, &str)| {
        let mut variables = certificates.variables();
        variables.push((variable, path.display().to_string()));
        variables.push(("OTEL_EXPORTER_OTLP_PROTOCOL", protocol.to_owned()));
        variables.push(("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.to_owned()));
        let error = tracer(&variables).unwrap_err().to_string();
        assert!(error.contains(variable) && error.contains(&path.display().to_string()), "{error}");
    };
    // The files must be usable even if the scheme of the endpoint makes no use of them.
    for destination in [
        ("grpc", "https://localhost:1"),
        ("grpc", "http://localhost:1"),
        ("http/protobuf", "https://localhost:1"),
        ("http/protobuf", "http://localhost:1"),
    ] {
        assert_named("OTEL_EXPORTER_OTLP_CERTIFICATE", Path::new("/missing/ca"), destination);
        assert_named("OTEL_EXPORTER_OTLP_CERTIFICATE", &certificates.path("key"), destination);
        assert_named("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", &certificates.path("key"), destination);
        assert_named("OTEL_EXPORTER_OTLP_CLIENT_KEY", &certificates.path("certificate"), destination);
    }
}

#[tokio::test]
async fn parent_decides_about_a_span_unless_the_sampler_ignores_it() {
    let is_sampled = |sampler: &str, parent: &'static str| {
        let tracer = tracer(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1".to_owned()),
            ("OTEL_TRACES_SAMPLER", sampler.to_owned()),
            ("OTEL_TRACES_SAMPLER_ARG", "0.5".to_owned()),
        ]);
        let header = |name: &str| (name == "traceparent").then_some(parent);
        tracer.unwrap().start_span("decide", header).is_some()
    };
    assert!(is_sampled("parentbased_always_off", PARENT));
    assert!(!is_sampled("parentbased_always_on", UNSAMPLED));
    assert!(!is_sampled("always_off", PARENT));
    assert!(is_sampled("always_on", UNSAMPLED));
    for invalid in ["", "00", "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"] {
        assert!(is_sampled("parentbased_always_on", invalid), "{invalid}");
        assert!(!is_sampled("parentbased_always_off", invalid), "{invalid}");
    }
    // The last 63 bits of the trace id are compared with the share.
    assert!(!is_sampled("traceidratio", PARENT));
    assert!(is_sampled("traceidratio", "00-4bf92f3577b34da67fffffffffffffff-00f067aa0ba902b7-00"));
}
