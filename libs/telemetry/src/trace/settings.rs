//! Tracing settings, read from the standard OpenTelemetry variables.
//!
//! The builders of the SDK read most of them, too, but ignore values that are invalid; here those are errors at startup, all at
//! once. Each value is read here only, and passed to the SDK, whose defaults apply to what is not set. The rest of this crate
//! needs values as well: the export queue its limit, the HTTP client its timeout, the connection the choice of TLS. The
//! files for TLS the SDK does not read, the sampler only in its own tracer provider, which is not used, and resource
//! attributes without decoding them.

use std::time::Duration;

use opentelemetry_otlp::{Compression, OTEL_EXPORTER_OTLP_TIMEOUT_DEFAULT};
use opentelemetry_sdk::trace::{
    OTEL_BSP_MAX_EXPORT_BATCH_SIZE_DEFAULT, OTEL_BSP_MAX_QUEUE_SIZE_DEFAULT, OTEL_BSP_SCHEDULE_DELAY_DEFAULT,
    Sampler,
};
use tonic::metadata::{Ascii, MetadataKey, MetadataMap, MetadataValue};

use super::env_variables::Variables;
use super::error::TraceError;
use super::exporter::{Destination, Protocol};
use super::tls_files::{PemFile, TlsFiles};

/// Which spans to export, and where to.
#[derive(Clone, Debug)]
pub struct TraceSettings {
    pub(super) destination: Destination,
    pub(super) sampler: Sampler,
    /// Resource attributes of the spans: `service.name` and others.
    pub(super) resource: Vec<(String, String)>,
    /// Maximum number of queued spans.
    pub(super) queue: usize,
    /// Maximum number of spans per batch. The SDK uses that of the queue if it is less.
    pub(super) batch: usize,
    /// How long a span waits for its batch to fill.
    pub(super) delay: Duration,
}

impl TraceSettings {
    /// Reads the settings from this process's environment; returns `None` if it names no endpoint or disables
    /// tracing.
    ///
    /// # Errors
    /// [`TraceError::Variables`] with all problems.
    pub fn from_env(service: &str) -> Result<Option<Self>, TraceError> {
        Self::read(service, |name| std::env::var(name).ok())
    }

    /// Reads the settings from the variables that `lookup` returns; `service` is the default service name.
    ///
    /// # Errors
    /// [`TraceError::Variables`] with all problems.
    pub fn read(service: &str, lookup: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, TraceError> {
        let mut variables = Variables::new(lookup);
        let Some((name, endpoint)) = endpoint(&mut variables) else { return disabled_or(variables.problems) };
        check_propagators(&mut variables);
        let timeout = duration(
            &mut variables,
            &["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"],
            OTEL_EXPORTER_OTLP_TIMEOUT_DEFAULT,
        );
        let queue = count(&mut variables, "OTEL_BSP_MAX_QUEUE_SIZE", OTEL_BSP_MAX_QUEUE_SIZE_DEFAULT);
        let batch =
            count(&mut variables, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", OTEL_BSP_MAX_EXPORT_BATCH_SIZE_DEFAULT);
        let delay = duration(&mut variables, &["OTEL_BSP_SCHEDULE_DELAY"], OTEL_BSP_SCHEDULE_DELAY_DEFAULT);
        let protocol = protocol(&mut variables);
        let destination = Destination {
            protocol,
            endpoint: url(&mut variables, name, endpoint, protocol),
            headers: headers(&mut variables),
            timeout,
            compression: compression(&mut variables),
            tls: tls_files(&mut variables),
        };
        let settings = Self {
            destination,
            sampler: sampler(&mut variables),
            resource: resource(&mut variables, service),
            queue,
            batch,
            delay,
        };
        match variables.problems.is_empty() {
            true => Ok(Some(settings)),
            false => Err(TraceError::Variables(variables.problems)),
        }
    }
}

/// Returns a number of spans, at least one.
fn count(
    variables: &mut Variables<impl Fn(&str) -> Option<String>>,
    name: &'static str,
    default: usize,
) -> usize {
    variables.number(&[name], "a whole number").unwrap_or(default).max(1)
}

/// Returns a time that a variable states in milliseconds, at least one.
fn duration(
    variables: &mut Variables<impl Fn(&str) -> Option<String>>,
    names: &[&'static str],
    default: Duration,
) -> Duration {
    variables.number(names, "a whole number").map_or(default, |ms: u64| Duration::from_millis(ms.max(1)))
}

/// Returns that tracing is disabled, or the problems that were found.
fn disabled_or(problems: Vec<String>) -> Result<Option<TraceSettings>, TraceError> {
    if problems.is_empty() { Ok(None) } else { Err(TraceError::Variables(problems)) }
}

/// Returns the variable that names the endpoint and its value, unless tracing is disabled.
fn endpoint(variables: &mut Variables<impl Fn(&str) -> Option<String>>) -> Option<(&'static str, String)> {
    let endpoint = variables.text(&["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"])?;
    match variables.text(&["OTEL_SDK_DISABLED"]) {
        Some((_, value)) if value.eq_ignore_ascii_case("true") => return None,
        _ => {}
    }
    match variables.text(&["OTEL_TRACES_EXPORTER"]) {
        None => Some(endpoint),
        Some((_, value)) if value == "otlp" => Some(endpoint),
        Some((_, value)) if value == "none" => None,
        Some((name, value)) => {
            variables.add_problem(name, &value, "expected otlp or none");
            None
        }
    }
}

fn check_propagators(variables: &mut Variables<impl Fn(&str) -> Option<String>>) {
    if let Some((name, value)) = variables.text(&["OTEL_PROPAGATORS"]) {
        let reads_parents = value.split(',').any(|propagator| propagator.trim() == "tracecontext");
        if !reads_parents {
            variables.add_problem(name, &value, "must include tracecontext, the only supported propagator");
        }
    }
}

fn protocol(variables: &mut Variables<impl Fn(&str) -> Option<String>>) -> Protocol {
    let names = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];
    match variables.text(&names) {
        Some((_, value)) if value == "http/protobuf" => Protocol::HttpProtobuf,
        Some((name, value)) if value != "grpc" => {
            variables.add_problem(name, &value, "expected grpc or http/protobuf");
            Protocol::Grpc
        }
        _ => Protocol::Grpc,
    }
}

fn compression(variables: &mut Variables<impl Fn(&str) -> Option<String>>) -> Option<Compression> {
    let names = ["OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "OTEL_EXPORTER_OTLP_COMPRESSION"];
    match variables.text(&names) {
        Some((_, value)) if value == "gzip" => Some(Compression::Gzip),
        Some((name, value)) if value != "none" => {
            variables.add_problem(name, &value, "expected gzip or none");
            None
        }
        _ => None,
    }
}

/// Returns the URL of an endpoint. A gRPC endpoint needs no scheme; the `*_INSECURE` variables decide then. HTTP
/// requests go to the path `/v1/traces` below the general endpoint.
fn url(
    variables: &mut Variables<impl Fn(&str) -> Option<String>>,
    name: &str,
    endpoint: String,
    protocol: Protocol,
) -> String {
    let insecure = ["OTEL_EXPORTER_OTLP_TRACES_INSECURE", "OTEL_EXPORTER_OTLP_INSECURE"];
    let is_insecure = variables.text(&insecure).is_some_and(|(_, value)| value.eq_ignore_ascii_case("true"));
    match (endpoint.split_once("://"), protocol) {
        (Some(("http" | "https", _)), Protocol::HttpProtobuf) if name == "OTEL_EXPORTER_OTLP_ENDPOINT" => {
            format!("{}/v1/traces", endpoint.trim_end_matches('/'))
        }
        (Some(("http" | "https", _)), _) => endpoint,
        (None, Protocol::Grpc) if is_insecure => format!("http://{endpoint}"),
        (None, Protocol::Grpc) => format!("https://{endpoint}"),
        (None, Protocol::HttpProtobuf) | (Some(_), _) => {
            variables.add_problem(name, &endpoint, "expected an http:// or https:// URL");
            endpoint
        }
    }
}

fn tls_files(variables: &mut Variables<impl Fn(&str) -> Option<String>>) -> TlsFiles {
    let file = |variables: &Variables<_>, names: &[&'static str]| {
        let (variable, path) = variables.text(names)?;
        Some(PemFile { variable, path: path.into() })
    };
    let authorities =
        file(variables, &["OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE"]);
    let certificate = file(
        variables,
        &["OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE", "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"],
    );
    let key = file(variables, &["OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY", "OTEL_EXPORTER_OTLP_CLIENT_KEY"]);
    let identity = match (certificate, key) {
        (Some(certificate), Some(key)) => Some([certificate, key]),
        (None, None) => None,
        (Some(PemFile { variable, path }), None) | (None, Some(PemFile { variable, path })) => {
            let advice = "set both OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and OTEL_EXPORTER_OTLP_CLIENT_KEY";
            variables.add_problem(variable, &path.display().to_string(), advice);
            None
        }
    };
    TlsFiles { authorities, identity }
}

fn headers(variables: &mut Variables<impl Fn(&str) -> Option<String>>) -> MetadataMap {
    let mut headers = MetadataMap::new();
    for (key, value) in variables.pairs(&["OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"])
    {
        let name = key.to_ascii_lowercase().parse::<MetadataKey<Ascii>>();
        match (name, MetadataValue::<Ascii>::try_from(value)) {
            (Ok(name), Ok(mut value)) => {
                value.set_sensitive(true);
                headers.insert(name, value);
            }
            _ => variables.problems.push(format!("the OTLP header \"{key}\" is not valid gRPC metadata")),
        }
    }
    headers
}

fn sampler(variables: &mut Variables<impl Fn(&str) -> Option<String>>) -> Sampler {
    const DEFAULT: &str = "parentbased_always_on";
    let (name, value) =
        variables.text(&["OTEL_TRACES_SAMPLER"]).unwrap_or(("OTEL_TRACES_SAMPLER", DEFAULT.to_owned()));
    let root = match value.strip_prefix("parentbased_").unwrap_or(&value) {
        "always_on" => Sampler::AlwaysOn,
        "always_off" => Sampler::AlwaysOff,
        "traceidratio" => Sampler::TraceIdRatioBased(sampled_share(variables)),
        _ => {
            let known =
                "expected always_on, always_off or traceidratio, optionally prefixed with parentbased_";
            variables.add_problem(name, &value, known);
            Sampler::AlwaysOn
        }
    };
    if value.starts_with("parentbased_") { Sampler::ParentBased(Box::new(root)) } else { root }
}

/// Returns the share of traces that are sampled, from 0 to 1.
fn sampled_share(variables: &mut Variables<impl Fn(&str) -> Option<String>>) -> f64 {
    const EXPECTED: &str = "a number from 0 to 1";
    let share = variables.number(&["OTEL_TRACES_SAMPLER_ARG"], EXPECTED).unwrap_or(1.0);
    if !(0.0..=1.0).contains(&share) {
        variables.add_problem("OTEL_TRACES_SAMPLER_ARG", &share.to_string(), format!("expected {EXPECTED}"));
    }
    share
}

/// Returns the resource attributes. `OTEL_SERVICE_NAME` takes precedence over a `service.name` attribute.
fn resource(
    variables: &mut Variables<impl Fn(&str) -> Option<String>>,
    service: &str,
) -> Vec<(String, String)> {
    const NAME: &str = "service.name";
    let mut resource = variables.pairs(&["OTEL_RESOURCE_ATTRIBUTES"]);
    let named = variables.text(&["OTEL_SERVICE_NAME"]).map(|(_, name)| name);
    let name = named
        .or_else(|| resource.iter().find(|(key, _)| key == NAME).map(|(_, name)| name.clone()))
        .unwrap_or_else(|| service.to_owned());
    resource.retain(|(key, _)| key != NAME);
    resource.push((NAME.to_owned(), name));
    resource
}

#[cfg(test)]
mod tests;
