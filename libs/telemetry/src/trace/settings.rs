//! Tracing settings, read from the standard OpenTelemetry variables.

use std::time::Duration;

use thiserror::Error;
use tonic::metadata::{Ascii, MetadataKey, MetadataMap, MetadataValue};

use super::env_variables::Variables;
use super::sampler::{ParentRule, Sampler};

/// Tracing cannot be set up.
#[derive(Debug, Error)]
pub enum TraceError {
    /// Variables have invalid or unsupported values.
    #[error("invalid OpenTelemetry configuration: {}", .0.join("; "))]
    Variables(Vec<String>),
    /// The exporter cannot be created.
    #[error("cannot export spans: {0}")]
    Exporter(String),
}

/// Which spans to export, and where to.
#[derive(Clone, Debug)]
pub struct TraceSettings {
    /// OTLP endpoint, an `http://` URL.
    pub(super) endpoint: String,
    pub(super) headers: MetadataMap,
    pub(super) timeout: Duration,
    pub(super) sampler: Sampler,
    /// Resource attributes of the spans: `service.name` and others.
    pub(super) resource: Vec<(String, String)>,
    /// Maximum number of queued spans.
    pub(super) queue: usize,
    /// Maximum number of spans per batch.
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
        reject_unsupported(&mut variables);
        let timeout = ["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"];
        let mut number = |names: &[&'static str], default: u64| {
            variables.number(names, "a whole number").unwrap_or(default).max(1)
        };
        let timeout = Duration::from_millis(number(&timeout, 10_000));
        let queue = number(&["OTEL_BSP_MAX_QUEUE_SIZE"], 2_048) as usize;
        let batch = number(&["OTEL_BSP_MAX_EXPORT_BATCH_SIZE"], 512) as usize;
        let delay = Duration::from_millis(number(&["OTEL_BSP_SCHEDULE_DELAY"], 5_000));
        let settings = Self {
            endpoint: plaintext(&mut variables, name, endpoint),
            headers: headers(&mut variables),
            timeout,
            sampler: sampler(&mut variables),
            resource: resource(&mut variables, service),
            queue,
            batch: batch.min(queue),
            delay,
        };
        match variables.problems.is_empty() {
            true => Ok(Some(settings)),
            false => Err(TraceError::Variables(variables.problems)),
        }
    }
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

fn reject_unsupported(variables: &mut Variables<impl Fn(&str) -> Option<String>>) {
    let only: [(&[&'static str], &str); 2] = [
        (&["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"], "grpc"),
        (&["OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "OTEL_EXPORTER_OTLP_COMPRESSION"], "none"),
    ];
    for (names, supported) in only {
        if let Some((name, value)) = variables.text(names).filter(|(_, value)| value != supported) {
            variables.add_problem(name, &value, format!("only {supported} is supported"));
        }
    }
    if let Some((name, value)) = variables.text(&["OTEL_PROPAGATORS"]) {
        let reads_parents = value.split(',').any(|propagator| propagator.trim() == "tracecontext");
        if !reads_parents {
            variables.add_problem(name, &value, "must include tracecontext, the only supported propagator");
        }
    }
}

/// Returns the endpoint with its scheme, which must be plaintext. Without a scheme, the `*_INSECURE`
/// variables decide.
fn plaintext(
    variables: &mut Variables<impl Fn(&str) -> Option<String>>,
    name: &str,
    endpoint: String,
) -> String {
    const NO_TLS: &str = "only plaintext is supported; use an http:// URL";
    let insecure = ["OTEL_EXPORTER_OTLP_TRACES_INSECURE", "OTEL_EXPORTER_OTLP_INSECURE"];
    let is_insecure = variables.text(&insecure).is_some_and(|(_, value)| value.eq_ignore_ascii_case("true"));
    match endpoint.split_once("://") {
        Some(("http", _)) => endpoint,
        None if is_insecure => format!("http://{endpoint}"),
        _ => {
            variables.add_problem(name, &endpoint, NO_TLS);
            endpoint
        }
    }
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
    let Some((name, value)) = variables.text(&["OTEL_TRACES_SAMPLER"]) else { return Sampler::default() };
    let parent_rule = if value.starts_with("parentbased_") { ParentRule::Follow } else { ParentRule::Ignore };
    let share = match value.strip_prefix("parentbased_").unwrap_or(&value) {
        "always_on" => Some(1.0),
        "always_off" => Some(0.0),
        "traceidratio" => {
            variables.number(&["OTEL_TRACES_SAMPLER_ARG"], "a number from 0 to 1").or(Some(1.0))
        }
        _ => None,
    };
    match share {
        Some(share) if (0.0..=1.0).contains(&share) => Sampler::of_share(parent_rule, share),
        Some(share) => {
            variables.add_problem(
                "OTEL_TRACES_SAMPLER_ARG",
                &share.to_string(),
                "expected a number from 0 to 1",
            );
            Sampler::default()
        }
        None => {
            let known =
                "expected always_on, always_off or traceidratio, optionally prefixed with parentbased_";
            variables.add_problem(name, &value, known);
            Sampler::default()
        }
    }
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
mod tests {
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
        assert_eq!("http://traces:1", special.endpoint);
        let headers = ("OTEL_EXPORTER_OTLP_HEADERS", "X-Key=a%20b,other=c");
        let settings = settings(&[
            headers,
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "7"),
            ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "9"),
        ]);
        assert_eq!(Duration::from_millis(9), settings.timeout);
        assert_eq!("a b", settings.headers.get("x-key").unwrap());
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
            settings(&[("OTEL_TRACES_SAMPLER", name), ("OTEL_TRACES_SAMPLER_ARG", share)]).sampler
        };
        assert_eq!(Sampler::of_share(ParentRule::Ignore, 1.0), sampler("always_on", ""));
        assert_eq!(Sampler::of_share(ParentRule::Follow, 0.0), sampler("parentbased_always_off", ""));
        assert_eq!(Sampler::of_share(ParentRule::Follow, 0.25), sampler("parentbased_traceidratio", "0.25"));
        assert_eq!(Sampler::of_share(ParentRule::Ignore, 1.0), sampler("traceidratio", ""));
        assert_eq!(Sampler::default(), settings(&[]).sampler);
    }

    #[test]
    fn all_unsupported_values_are_reported_together() {
        let wrong = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://otel:4317"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
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
        for endpoint in ["otel:4317", "unix:///tmp/x"] {
            assert!(
                read(&[(ENDPOINT.0, endpoint)]).unwrap_err().to_string().contains("http://"),
                "{endpoint}"
            );
        }
        let insecure = settings(&[
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "otel:1"),
            ("OTEL_EXPORTER_OTLP_INSECURE", "true"),
        ]);
        assert_eq!("http://otel:1", insecure.endpoint);
        for share in ["2", "NaN", "-0.1", "half"] {
            let ratio =
                [ENDPOINT, ("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", share)];
            assert!(read(&ratio).is_err(), "{share}");
        }
    }
}
