//! The names under which dashboards and autoscalers know an endpoint picker: those of the Go EPP, present and older.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use signalbox_intake::answer::Usage;
use signalbox_peers::Subject;
use signalbox_state::{EndpointState, ScrapeStatus};
use signalbox_types::PPM;

use super::bounded::Bounded;
use crate::picker::Picker;

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

/// One request, when it is over.
#[derive(Clone, Debug, Default)]
pub(crate) struct Over {
    /// The model that the client asked for; empty where it named none, or the body was not read.
    pub(crate) asked_model: String,
    /// The one that it went to.
    pub(crate) target_model: String,
    /// The code of the refusal, if it was refused.
    pub(crate) refused: Option<&'static str>,
    /// From its first message to the first of the answer's body.
    pub(crate) first_token: Option<Duration>,
    /// What the answer said of tokens.
    pub(crate) usage: Option<Usage>,
}

/// Counts of requests, by model.
#[derive(Debug)]
pub(crate) struct Requests {
    models: Bounded,
    total: Family<ModelLabels, Counter>,
    errors: Family<ErrorLabels, Counter>,
    input_tokens: Histograms,
    output_tokens: Histograms,
    cached_tokens: Histograms,
    first_token: Histograms,
}

impl Default for Requests {
    /// Counts that nobody sees.
    fn default() -> Self {
        Self::register(&mut Registry::default())
    }
}

impl Requests {
    /// Counts that `page` shows.
    pub(crate) fn register(page: &mut Registry) -> Self {
        let tokens: fn() -> Histogram = || Histogram::new(exponential_buckets(1.0, 2.0, 21));
        let seconds: fn() -> Histogram = || Histogram::new(exponential_buckets(0.005, 2.0, 17));
        let requests = Self {
            models: Bounded::default(),
            total: Family::default(),
            errors: Family::default(),
            input_tokens: Family::new_with_constructor(tokens),
            output_tokens: Family::new_with_constructor(tokens),
            cached_tokens: Family::new_with_constructor(tokens),
            first_token: Family::new_with_constructor(seconds),
        };
        for prefix in ["llm_d_epp_request", "inference_objective_request"] {
            page.register(prefix, "Requests", requests.total.clone());
            page.register(format!("{prefix}_error"), "Requests that were refused", requests.errors.clone());
        }
        for (name, help, histogram) in [
            ("input_tokens", "Tokens of prompts, as answers tell", &requests.input_tokens),
            ("output_tokens", "Tokens of answers, as they tell", &requests.output_tokens),
            ("cached_tokens", "Tokens of prompts that were cached, as answers tell", &requests.cached_tokens),
            ("ttft_seconds", "Time to the first part of an answer", &requests.first_token),
        ] {
            page.register(format!("llm_d_epp_request_{name}"), help, histogram.clone());
        }
        for (name, histogram) in
            [("input_tokens", &requests.input_tokens), ("output_tokens", &requests.output_tokens)]
        {
            page.register(format!("inference_objective_{name}"), "As llm_d_epp_request_*", histogram.clone());
        }
        requests
    }

    /// A request is over.
    pub(crate) fn over(&self, over: &Over) {
        let model_name = self.models.label(&over.asked_model);
        let target_model_name = self.models.label(&over.target_model);
        let labels = ModelLabels { model_name, target_model_name };
        self.total.get_or_create(&labels).inc();
        if let Some(error_code) = over.refused {
            let ModelLabels { model_name, target_model_name } = labels.clone();
            self.errors.get_or_create(&ErrorLabels { model_name, target_model_name, error_code }).inc();
        }
        if let Some(time) = over.first_token {
            self.first_token.get_or_create(&labels).observe(time.as_secs_f64());
        }
        let usage = over.usage.unwrap_or_default();
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

/// What is known of the pool at the moment it is asked for. Endpoints whose values are stale are left out.
#[derive(Debug)]
pub(crate) struct PoolLevels {
    pub(crate) picker: Arc<Picker>,
    /// Which pool it is.
    pub(crate) subject: Arc<Subject>,
}

impl Collector for PoolLevels {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let snapshot = self.picker.snapshot.load();
        let fresh: Vec<&EndpointState> = snapshot
            .view
            .endpoints
            .iter()
            .map(AsRef::as_ref)
            .filter(|member| member.observed.scrape_status == ScrapeStatus::Fresh)
            .collect();
        let mean = |of: fn(&EndpointState) -> Option<f64>| {
            let told: Vec<f64> = fresh.iter().filter_map(|member| of(member)).collect();
            told.iter().sum::<f64>() / told.len().max(1) as f64
        };
        let queue = mean(|member| Some(f64::from(member.observed.gauges.waiting)));
        let running = mean(|member| Some(f64::from(member.observed.gauges.running)));
        let cache = mean(|member| Some(f64::from(member.observed.gauges.kv_used_ppm?) / f64::from(PPM)));
        let levels = [
            ("llm_d_epp_average_queue_size", "Waiting requests of an endpoint, on average", queue),
            ("inference_pool_average_queue_size", "As llm_d_epp_average_queue_size", queue),
            ("llm_d_epp_average_running_requests", "Running requests of an endpoint, on average", running),
            ("llm_d_epp_average_kv_cache_utilization", "Share of the KV cache in use, on average", cache),
            (
                "inference_pool_average_kv_cache_utilization",
                "As llm_d_epp_average_kv_cache_utilization",
                cache,
            ),
            ("llm_d_epp_ready_endpoints", "Endpoints whose values are fresh", fresh.len() as f64),
            ("inference_pool_ready_pods", "As llm_d_epp_ready_endpoints", fresh.len() as f64),
        ];
        let pool = self.subject.pool().and_then(|pool| pool.rsplit('/').next()).unwrap_or_default();
        let pool = [("name", pool)];
        for (name, help, value) in levels {
            let gauge = ConstGauge::new(value);
            let mut encoder = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
            gauge.encode(encoder.encode_family(&pool)?)?;
        }
        for (name, label) in [
            ("llm_d_epp_per_endpoint_queue_size", "model_server_endpoint"),
            ("inference_pool_per_pod_queue_size", "model_server_pod"),
        ] {
            let kind = ConstGauge::new(0.0).metric_type();
            let mut encoder =
                encoder.encode_descriptor(name, "Waiting requests of an endpoint", None, kind)?;
            for member in &fresh {
                let labels = [pool[0], (label, member.spec.name.as_str())];
                let gauge = ConstGauge::new(f64::from(member.observed.gauges.waiting));
                gauge.encode(encoder.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}
