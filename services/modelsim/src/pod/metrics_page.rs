//! Renders the metrics page with vLLM's metric families and labels.

use std::borrow::Cow;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Registry;

use super::faults::Faults;
use super::snapshot::{AdapterUse, Snapshot};
use crate::config::PodConfig;
use crate::engine::AdapterId;

/// The contents of the metrics page.
pub(crate) struct MetricsPage<'a> {
    pub(crate) config: &'a PodConfig,
    pub(crate) snapshot: Snapshot,
    pub(crate) faults: Faults,
    /// How many inference requests failed because of an injected error.
    pub(crate) injected_errors: u64,
    /// Unix time at which the pod started.
    pub(crate) started_at_seconds: f64,
}

impl MetricsPage<'_> {
    /// Renders the page in the OpenMetrics text format.
    pub(crate) fn render(&self) -> String {
        let mut registry = Registry::default();
        self.register_cache_config(&mut registry);
        let labels = [("engine", "0".to_owned()), ("model_name", self.config.models[0].clone())];
        let of_model = registry.sub_registry_with_labels(labels.into_iter().map(into_label));
        self.register_gauges(of_model);
        self.register_counters(of_model);
        self.register_requests(of_model);
        self.register_adapter_loads(of_model);
        self.register_adapter_uses(&mut registry);
        registry.register(
            "modelsim_injected_errors",
            "Inference requests that failed because of an injected error",
            ConstCounter::new(self.injected_errors),
        );
        registry.register(
            "process_start_time_seconds",
            "Start time of the process since unix epoch in seconds",
            ConstGauge::new(self.started_at_seconds),
        );
        let mut page = String::with_capacity(8 * 1024);
        encode(&mut page, &registry).expect("writing to a String does not fail");
        page
    }

    fn register_cache_config(&self, registry: &mut Registry) {
        let labels = [
            ("block_size", self.config.model.block_size_tokens.to_string()),
            ("enable_prefix_caching", "True".to_owned()),
            ("engine", "0".to_owned()),
            ("num_gpu_blocks", self.snapshot.stats.total_blocks.to_string()),
        ];
        registry.sub_registry_with_labels(labels.into_iter().map(into_label)).register(
            "vllm:cache_config_info",
            "Information of the LLMEngine CacheConfig",
            ConstGauge::new(1.0),
        );
    }

    fn register_gauges(&self, registry: &mut Registry) {
        let stats = &self.snapshot.stats;
        let waiting = self.faults.waiting.unwrap_or(stats.waiting);
        let kv_usage = self.faults.kv_usage.unwrap_or_else(|| stats.kv_usage());
        let gauges = [
            (
                "vllm:num_requests_running",
                "Number of requests in model execution batches",
                f64::from(stats.running),
            ),
            ("vllm:num_requests_waiting", "Number of requests waiting to be processed", f64::from(waiting)),
            ("vllm:kv_cache_usage_perc", "KV-cache usage. 1 means 100 percent usage", kv_usage),
        ];
        for (name, help, value) in gauges {
            registry.register(name, help, ConstGauge::new(value));
        }
    }

    fn register_counters(&self, registry: &mut Registry) {
        let stats = &self.snapshot.stats;
        let counters = [
            (
                "vllm:prefix_cache_queries",
                "Prefix cache queries, in number of tokens",
                stats.prefix_queries_tokens,
            ),
            ("vllm:prefix_cache_hits", "Prefix cache hits, in number of tokens", stats.prefix_hits_tokens),
            ("vllm:prompt_tokens", "Number of prefill tokens processed", stats.prompt_tokens),
            ("vllm:generation_tokens", "Number of generation tokens processed", stats.generation_tokens),
            ("vllm:num_preemptions", "Cumulative number of preemptions", stats.preemptions),
        ];
        for (name, help, value) in counters {
            registry.register(name, help, ConstCounter::new(value));
        }
    }

    /// Registers the finished requests by reason, and times and lengths of requests.
    fn register_requests(&self, registry: &mut Registry) {
        let Snapshot { stats, first_token, inter_token, request, prompt_tokens, output_tokens, .. } =
            &self.snapshot;
        let success = Family::<[(&str, &str); 1], Counter>::default();
        for (reason, count) in [
            ("stop", stats.finished - stats.finished_at_limit),
            ("length", stats.finished_at_limit),
            ("abort", stats.cancelled),
            ("error", 0),
        ] {
            success.get_or_create(&[("finished_reason", reason)]).inc_by(count);
        }
        registry.register("vllm:request_success", "Count of successfully processed requests", success);
        let longest = self.config.model.max_request_tokens() as f64;
        let histograms = [
            ("vllm:time_to_first_token_seconds", "Histogram of time to first token in seconds", *first_token),
            ("vllm:inter_token_latency_seconds", "Histogram of inter-token latency in seconds", *inter_token),
            ("vllm:e2e_request_latency_seconds", "Histogram of e2e request latency in seconds", *request),
            (
                "vllm:request_prompt_tokens",
                "Number of prefill tokens processed",
                prompt_tokens.up_to(longest),
            ),
            (
                "vllm:request_generation_tokens",
                "Number of generation tokens processed",
                output_tokens.up_to(longest),
            ),
        ];
        for (name, help, histogram) in histograms {
            registry.register(name, help, histogram);
        }
    }

    /// Registers the latest uses of adapters if the pod has adapters, as vLLM does.
    fn register_adapter_uses(&self, registry: &mut Registry) {
        let PodConfig { loras, model, .. } = self.config;
        if loras.is_empty() {
            return;
        }
        let names = |adapters: &[AdapterId]| {
            let names: Vec<&str> =
                adapters.iter().filter_map(|id| loras.get(*id as usize)).map(String::as_str).collect();
            names.join(",")
        };
        let uses = Family::<[(&str, String); 3], Gauge<f64, AtomicU64>>::default();
        for AdapterUse { adapters, at_seconds } in &self.snapshot.adapter_uses {
            let labels = [
                ("max_lora", model.max_loras.to_string()),
                ("running_lora_adapters", names(&adapters.running)),
                ("waiting_lora_adapters", names(&adapters.waiting)),
            ];
            uses.get_or_create(&labels).set(*at_seconds);
        }
        registry.register("vllm:lora_requests_info", "Running stats on lora requests", uses);
    }

    /// Registers where adapters were loaded from if the pod has adapters.
    fn register_adapter_loads(&self, registry: &mut Registry) {
        if self.config.loras.is_empty() {
            return;
        }
        let stats = &self.snapshot.stats;
        let loads = Family::<[(&str, &str); 1], Counter>::default();
        for (source, count) in [("disk", stats.lora_disk_loads), ("host", stats.lora_host_loads)] {
            loads.get_or_create(&[("source", source)]).inc_by(count);
        }
        registry.register("modelsim_lora_loads", "LoRA adapters loaded to the device", loads);
    }
}

fn into_label((name, value): (&'static str, String)) -> (Cow<'static, str>, Cow<'static, str>) {
    (name.into(), value.into())
}

#[cfg(test)]
mod tests {
    use super::MetricsPage;
    use crate::config::PodConfig;
    use crate::engine::{AdapterStats, Stats};
    use crate::pod::faults::Faults;
    use crate::pod::snapshot::{AdapterUse, Snapshot};

    #[test]
    fn page_is_valid_and_shows_overrides() {
        let config = PodConfig { models: vec!["a\"b".to_owned()], ..PodConfig::default() };
        let stats = Stats { running: 3, waiting: 1, used_blocks: 1, total_blocks: 4, ..Stats::default() };
        let snapshot = Snapshot { stats, ..Snapshot::default() };
        let faults = Faults { waiting: Some(9), ..Faults::default() };
        let (injected_errors, started_at_seconds) = (7, 12.5);
        let page =
            MetricsPage { config: &config, snapshot, faults, injected_errors, started_at_seconds }.render();
        for line in page.lines().filter(|line| !line.starts_with("# ")) {
            let (_, value) = line.rsplit_once(' ').unwrap();
            assert!(value.parse::<f64>().is_ok(), "{line}");
        }
        for expected in [
            "vllm:num_requests_running{engine=\"0\",model_name=\"a\\\"b\"} 3.0\n",
            "vllm:num_requests_waiting{engine=\"0\",model_name=\"a\\\"b\"} 9.0\n",
            "vllm:kv_cache_usage_perc{engine=\"0\",model_name=\"a\\\"b\"} 0.25\n",
            "num_gpu_blocks=\"4\"} 1.0\n",
            "\nmodelsim_injected_errors_total 7\n",
            "\nprocess_start_time_seconds 12.5\n",
        ] {
            assert!(page.contains(expected), "{expected} not in\n{page}");
        }
        assert!(!page.contains("lora"), "a pod without adapters shows no adapter metrics");
    }

    #[test]
    fn adapters_are_listed_by_name_with_the_time_of_their_use() {
        let loras = ["sql", "chat", "legal"].map(str::to_owned).to_vec();
        let config = PodConfig { loras, ..PodConfig::default() };
        let adapters = AdapterStats { running: vec![0, 2], waiting: vec![1], ..AdapterStats::default() };
        let stats = Stats { lora_disk_loads: 3, lora_host_loads: 2, ..Stats::default() };
        let earlier = AdapterUse { at_seconds: 1_758_816_300.5, ..AdapterUse::default() };
        let latest = AdapterUse { adapters, at_seconds: 1_758_816_301.25 };
        let snapshot = Snapshot { stats, adapter_uses: vec![earlier, latest], ..Snapshot::default() };
        let (faults, injected_errors, started_at_seconds) = (Faults::default(), 0, 0.0);
        let page = MetricsPage { config: &config, snapshot, faults, injected_errors, started_at_seconds };
        let page = page.render();
        for expected in [
            "vllm:lora_requests_info{max_lora=\"4\",running_lora_adapters=\"\",waiting_lora_adapters=\"\"} \
             1758816300.5\n",
            "vllm:lora_requests_info{max_lora=\"4\",running_lora_adapters=\"sql,legal\",\
             waiting_lora_adapters=\"chat\"} 1758816301.25\n",
            "modelsim_lora_loads_total{engine=\"0\",model_name=\"llama3-8b\",source=\"disk\"} 3\n",
            "modelsim_lora_loads_total{engine=\"0\",model_name=\"llama3-8b\",source=\"host\"} 2\n",
        ] {
            assert!(page.contains(expected), "{expected} not in\n{page}");
        }
    }
}
