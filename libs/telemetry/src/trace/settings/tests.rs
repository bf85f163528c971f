//! Tests of what the variables mean.

use super::*;

const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://otel:4317");

fn read(variables: &[(&str, &str)]) -> Result<Option<TraceSettings>, TraceError> {
    let value = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
    TraceSettings::read("epp", |name| value(name).map(str::to_owned))
}

fn settings(variables: &[(&str, &str)]) -> TraceSettings {
    read(&[&[ENDPOINT], variables].concat()).unwrap().unwrap()
}

#[test]
fn tracing_is_off_without_an_endpoint_or_when_disabled() {
    assert!(read(&[]).unwrap().is_none());
    assert!(read(&[(ENDPOINT.0, " ")]).unwrap().is_none());
    assert!(read(&[("OTEL_TRACES_SAMPLER", "nonsense")]).unwrap().is_none());
    assert!(read(&[ENDPOINT, ("OTEL_SDK_DISABLED", "True")]).unwrap().is_none());
    assert!(read(&[ENDPOINT, ("OTEL_TRACES_EXPORTER", "none")]).unwrap().is_none());
    assert!(read(&[ENDPOINT, ("OTEL_SDK_DISABLED", "false")]).unwrap().is_some());
}

#[test]
fn traces_variable_overrides_the_general_one() {
    let special = settings(&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://traces:1")]);
    assert_eq!("http://traces:1", special.destination.endpoint);
    let headers = ("OTEL_EXPORTER_OTLP_HEADERS", "X-Key=a%20b,other=c");
    let settings =
        settings(&[headers, ("OTEL_EXPORTER_OTLP_TIMEOUT", "7"), ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "9")]);
    assert_eq!(Duration::from_millis(9), settings.destination.timeout);
    assert_eq!("a b", settings.destination.headers.get("x-key").unwrap());
}

#[test]
fn service_name_variable_overrides_the_attribute() {
    let attributes = ("OTEL_RESOURCE_ATTRIBUTES", "service.name=a,k=v");
    let name = |variables: &[(&str, &str)]| {
        settings(variables).resource.iter().find(|(key, _)| key == "service.name").unwrap().1.clone()
    };
    assert_eq!("epp", name(&[]));
    assert_eq!("a", name(&[attributes]));
    assert_eq!("b", name(&[attributes, ("OTEL_SERVICE_NAME", "b")]));
    assert!(settings(&[attributes]).resource.contains(&("k".to_owned(), "v".to_owned())));
}

#[test]
fn standard_sampler_names_are_supported() {
    let sampler = |name, share| {
        let variables = [("OTEL_TRACES_SAMPLER", name), ("OTEL_TRACES_SAMPLER_ARG", share)];
        format!("{:?}", settings(&variables).sampler)
    };
    assert_eq!("AlwaysOn", sampler("always_on", ""));
    assert_eq!("ParentBased(AlwaysOff)", sampler("parentbased_always_off", ""));
    assert_eq!("ParentBased(TraceIdRatioBased(0.25))", sampler("parentbased_traceidratio", "0.25"));
    assert_eq!("TraceIdRatioBased(1.0)", sampler("traceidratio", ""));
    assert_eq!("ParentBased(AlwaysOn)", format!("{:?}", settings(&[]).sampler));
}

#[test]
fn http_requests_go_to_the_path_of_traces_below_the_general_endpoint() {
    let http = ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf");
    for (name, endpoint, expected) in [
        (ENDPOINT.0, "http://otel:4318", "http://otel:4318/v1/traces"),
        (ENDPOINT.0, "https://otel/base/", "https://otel/base/v1/traces"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://otel/mine", "https://otel/mine"),
    ] {
        let destination = read(&[(name, endpoint), http]).unwrap().unwrap().destination;
        assert_eq!((Protocol::HttpProtobuf, expected), (destination.protocol, destination.endpoint.as_str()));
    }
}

#[test]
fn grpc_endpoint_without_scheme_uses_tls_unless_it_is_insecure() {
    let endpoint = |more: &[(&str, &str)]| {
        let named = [("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "otel:1")];
        read(&[&named, more].concat()).unwrap().unwrap().destination.endpoint
    };
    assert_eq!("https://otel:1", endpoint(&[]));
    assert_eq!("http://otel:1", endpoint(&[("OTEL_EXPORTER_OTLP_INSECURE", "true")]));
}

#[test]
fn tls_files_are_those_of_the_variables() {
    let file = |variable, path: &str| PemFile { variable, path: path.into() };
    let read = settings(&[
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/ca.pem"),
        ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "/all.pem"),
        ("OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE", "/traces.pem"),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/key.pem"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
    ]);
    let expected = TlsFiles {
        authorities: Some(file("OTEL_EXPORTER_OTLP_CERTIFICATE", "/ca.pem")),
        identity: Some([
            file("OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE", "/traces.pem"),
            file("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/key.pem"),
        ]),
    };
    assert_eq!((expected, Some(Compression::Gzip)), (read.destination.tls, read.destination.compression));
}

#[test]
fn all_unsupported_values_are_reported_together() {
    let wrong = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "unix:///tmp/x"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zip"),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/key.pem"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon"),
        ("OTEL_TRACES_SAMPLER", "xray"),
        ("OTEL_PROPAGATORS", "b3"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "-1"),
        ("OTEL_RESOURCE_ATTRIBUTES", "what"),
    ];
    let error = read(&wrong).unwrap_err().to_string();
    for (name, _) in wrong {
        assert!(error.contains(name), "{name} is missing in: {error}");
    }
    let schemeless = read(&[(ENDPOINT.0, "otel:4318"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")]);
    assert!(schemeless.unwrap_err().to_string().contains("http:// or https://"));
    for share in ["2", "NaN", "-0.1", "half"] {
        let ratio = [ENDPOINT, ("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", share)];
        assert!(read(&ratio).is_err(), "{share}");
    }
}
