//! Request metrics under the current and former names of the Go EPP, for dashboards and autoscalers.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use signalbox_intake::response::Usage;

use super::bounded_labels::{BoundedLabels, Service};
use super::flow_control::{FlowMetrics, FlowSummary};
use super::revocations::RevocationMetrics;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ModelLabels {
    model_name: String,
    target_model_name: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ErrorLabels {
    model_name: String,
    target_model_name: String,
    error_code: &'static str,
}

type Histograms = Family<ModelLabels, Histogram, fn() -> Histogram>;

/// One request, as counted when it ends.
#[derive(Clone, Debug, Default)]
pub(crate) struct RequestSummary {
    /// Model that the client requested; empty if it named none or the body was not read.
    pub(crate) requested_model: String,
    /// Model that the request was sent to.
    pub(crate) target_model: String,
    /// How the request passed flow control; `None` if it did not come so far.
    pub(crate) flow: Option<FlowSummary>,
    /// Whether the request was served; `None` if nothing was seen of a response.
    pub(crate) service: Option<Service>,
    /// Code of the refusal, if the request was refused.
    pub(crate) refusal_code: Option<&'static str>,
    /// Time from the request's first message to the first output of a successful response.
    pub(crate) time_to_first_token: Option<Duration>,
    /// Token counts that the response reports.
    pub(crate) usage: Option<Usage>,
}

/// Request metrics by model.
#[derive(Debug)]
pub(crate) struct RequestMetrics {
    /// The requested and the target model.
    models: BoundedLabels<2>,
    total: Family<ModelLabels, Counter>,
    errors: Family<ErrorLabels, Counter>,
    input_tokens: Histograms,
    output_tokens: Histograms,
    cached_tokens: Histograms,
    time_to_first_token: Histograms,
    flow_control: FlowMetrics,
    pub(crate) revocations: RevocationMetrics,
}

impl Default for RequestMetrics {
    /// Returns metrics that no registry exports.
    fn default() -> Self {
        Self::register(&mut Registry::default())
    }
}

impl RequestMetrics {
    /// Registers the metrics at `registry`.
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let tokens: fn() -> Histogram = || Histogram::new(exponential_buckets(1.0, 2.0, 21));
        let seconds: fn() -> Histogram = || Histogram::new(exponential_buckets(0.005, 2.0, 17));
        let requests = Self {
            models: BoundedLabels::default(),
            total: Family::default(),
            errors: Family::default(),
            input_tokens: Family::new_with_constructor(tokens),
            output_tokens: Family::new_with_constructor(tokens),
            cached_tokens: Family::new_with_constructor(tokens),
            time_to_first_token: Family::new_with_constructor(seconds),
            flow_control: FlowMetrics::register(registry),
            revocations: RevocationMetrics::register(registry),
        };
        for prefix in ["llm_d_epp_request", "inference_objective_request"] {
            registry.register(prefix, "Requests by model", requests.total.clone());
            registry.register(
                format!("{prefix}_error"),
                "Requests that were refused, by model and error code",
                requests.errors.clone(),
            );
        }
        for (name, help, histogram) in [
            ("input_tokens", "Prompt tokens per request, as responses report them", &requests.input_tokens),
            ("output_tokens", "Output tokens per request, as responses report them", &requests.output_tokens),
            (
                "cached_tokens",
                "Cached prompt tokens per request, as responses report them",
                &requests.cached_tokens,
            ),
            ("ttft_seconds", "Time to the first output of the response", &requests.time_to_first_token),
        ] {
            registry.register(format!("llm_d_epp_request_{name}"), help, histogram.clone());
        }
        for (name, histogram) in
            [("input_tokens", &requests.input_tokens), ("output_tokens", &requests.output_tokens)]
        {
            registry.register(
                format!("inference_objective_{name}"),
                "Same as llm_d_epp_request_*",
                histogram.clone(),
            );
        }
        requests
    }

    /// Counts a request that has ended.
    pub(crate) fn count(&self, request: &RequestSummary) {
        let service = request.service.unwrap_or_default();
        if let Some(flow) = &request.flow {
            self.flow_control.count(flow, service);
        }
        let models = [request.requested_model.as_str(), &request.target_model];
        let [model_name, target_model_name] = self.models.labels(models, service);
        let labels = ModelLabels { model_name, target_model_name };
        self.total.get_or_create(&labels).inc();
        if let Some(error_code) = request.refusal_code {
            let ModelLabels { model_name, target_model_name } = labels.clone();
            self.errors.get_or_create(&ErrorLabels { model_name, target_model_name, error_code }).inc();
        }
        if let Some(time) = request.time_to_first_token {
            self.time_to_first_token.get_or_create(&labels).observe(time.as_secs_f64());
        }
        let usage = request.usage.unwrap_or_default();
        for (histogram, tokens) in [
            (&self.input_tokens, usage.prompt_tokens),
            (&self.output_tokens, usage.completion_tokens),
            (&self.cached_tokens, usage.cached_tokens),
        ] {
            if let Some(tokens) = tokens {
                histogram.get_or_create(&labels).observe(tokens as f64);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    #[test]
    fn requests_of_made_up_models_share_a_series() {
        let mut registry = Registry::default();
        let metrics = RequestMetrics::register(&mut registry);
        let count = |name: &str, service, refusal_code| {
            let (requested_model, target_model) = (name.to_owned(), "base".to_owned());
            let usage = Some(Usage { prompt_tokens: Some(1), ..Usage::default() });
            metrics.count(&RequestSummary {
                requested_model,
                target_model,
                service: Some(service),
                refusal_code,
                usage,
                ..RequestSummary::default()
            });
        };
        for number in 0..2_000 {
            count(&format!("made-up-{number}"), Service::Unserved, Some("ResourceExhausted"));
        }
        count("real", Service::Served, None);
        let mut page = String::new();
        encode(&mut page, &registry).unwrap();
        let lines = |start: &str| page.lines().filter(|line| line.starts_with(start)).count();
        assert_eq!(102, lines("llm_d_epp_request_total{"), "100 names, the rest, and the real one");
        assert_eq!(101, lines("llm_d_epp_request_error_total{"));
        let real = "llm_d_epp_request_total{model_name=\"real\",target_model_name=\"base\"} 1";
        assert!(page.contains(real), "{page}");
    }
}
