//! Renders the metrics page with vLLM's metric families and labels.

use std::fmt::{self, Write};

use super::faults::Faults;
use super::histogram::Histogram;
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
    /// Renders the page in Prometheus text format 0.0.4.
    pub(crate) fn render(&self) -> String {
        let mut page = String::with_capacity(8 * 1024);
        self.write(&mut page).expect("writing to a String does not fail");
        page
    }

    fn write(&self, page: &mut String) -> fmt::Result {
        let labels = format!("engine=\"0\",model_name=\"{}\"", escape_label(&self.config.models[0]));
        self.write_gauges(page, &labels)?;
        self.write_counters(page, &labels)?;
        self.write_adapters(page, &labels)?;
        self.write_histograms(page, &labels)?;
        let errors = "modelsim_injected_errors_total";
        writeln!(page, "# HELP {errors} Inference requests that failed because of an injected error.")?;
        writeln!(page, "# TYPE {errors} counter\n{errors} {}.0", self.injected_errors)?;
        let started = "process_start_time_seconds";
        writeln!(page, "# HELP {started} Start time of the process since unix epoch in seconds.")?;
        writeln!(page, "# TYPE {started} gauge\n{started} {:.3}", self.started_at_seconds)
    }

    fn write_gauges(&self, page: &mut String, labels: &str) -> fmt::Result {
        let stats = &self.snapshot.stats;
        let waiting = self.faults.waiting.unwrap_or(stats.waiting);
        let kv_usage = self.faults.kv_usage.unwrap_or_else(|| stats.kv_usage());
        let gauges = [
            (
                "num_requests_running",
                "Number of requests in model execution batches.",
                f64::from(stats.running),
            ),
            ("num_requests_waiting", "Number of requests waiting to be processed.", f64::from(waiting)),
            ("kv_cache_usage_perc", "KV-cache usage. 1 means 100 percent usage.", kv_usage),
        ];
        for (name, help, value) in gauges {
            writeln!(
                page,
                "# HELP vllm:{name} {help}\n# TYPE vllm:{name} gauge\nvllm:{name}{{{labels}}} {value:?}"
            )?;
        }
        let info = "vllm:cache_config_info";
        writeln!(page, "# HELP {info} Information of the LLMEngine CacheConfig\n# TYPE {info} gauge")?;
        let (block_size, blocks) = (self.config.model.block_size_tokens, stats.total_blocks);
        writeln!(
            page,
            "{info}{{block_size=\"{block_size}\",enable_prefix_caching=\"True\",engine=\"0\",\
             num_gpu_blocks=\"{blocks}\"}} 1.0"
        )
    }

    fn write_counters(&self, page: &mut String, labels: &str) -> fmt::Result {
        let stats = &self.snapshot.stats;
        let counters = [
            (
                "prefix_cache_queries",
                "Prefix cache queries, in number of tokens.",
                stats.prefix_queries_tokens,
            ),
            ("prefix_cache_hits", "Prefix cache hits, in number of tokens.", stats.prefix_hits_tokens),
            ("prompt_tokens", "Number of prefill tokens processed.", stats.prompt_tokens),
            ("generation_tokens", "Number of generation tokens processed.", stats.generation_tokens),
            ("num_preemptions", "Cumulative number of preemptions.", stats.preemptions),
        ];
        for (name, help, value) in counters {
            writeln!(page, "# HELP vllm:{name}_total {help}\n# TYPE vllm:{name}_total counter")?;
            writeln!(page, "vllm:{name}_total{{{labels}}} {value}.0")?;
        }
        Ok(())
    }

    /// Writes the finished requests by reason, and times and lengths of requests.
    fn write_histograms(&self, page: &mut String, labels: &str) -> fmt::Result {
        let Snapshot { stats, first_token, inter_token, request, prompt_tokens, output_tokens, .. } =
            &self.snapshot;
        let success = "vllm:request_success_total";
        writeln!(page, "# HELP {success} Count of successfully processed requests.")?;
        writeln!(page, "# TYPE {success} counter")?;
        let stopped = stats.finished - stats.finished_at_limit;
        let reasons = [
            ("stop", stopped),
            ("length", stats.finished_at_limit),
            ("abort", stats.cancelled),
            ("error", 0),
        ];
        for (reason, count) in reasons {
            writeln!(page, "{success}{{{labels},finished_reason=\"{reason}\"}} {count}.0")?;
        }
        let longest = self.config.model.max_request_tokens() as f64;
        let histograms = [
            ("time_to_first_token_seconds", "Histogram of time to first token in seconds.", first_token),
            ("inter_token_latency_seconds", "Histogram of inter-token latency in seconds.", inter_token),
            ("e2e_request_latency_seconds", "Histogram of e2e request latency in seconds.", request),
            ("request_prompt_tokens", "Number of prefill tokens processed.", prompt_tokens),
            ("request_generation_tokens", "Number of generation tokens processed.", output_tokens),
        ];
        for (name, help, histogram) in histograms {
            let greatest = if name.ends_with("_tokens") { longest } else { f64::INFINITY };
            write_histogram(page, labels, (name, help), histogram, greatest)?;
        }
        Ok(())
    }

    /// Writes the adapter metrics if the pod has adapters, as vLLM does.
    fn write_adapters(&self, page: &mut String, labels: &str) -> fmt::Result {
        let PodConfig { loras, model, .. } = self.config;
        if loras.is_empty() {
            return Ok(());
        }
        let names = |adapters: &[AdapterId]| {
            let names: Vec<&str> =
                adapters.iter().filter_map(|id| loras.get(*id as usize)).map(String::as_str).collect();
            escape_label(&names.join(","))
        };
        let Snapshot { adapter_uses, stats, .. } = &self.snapshot;
        let (info, slots) = ("vllm:lora_requests_info", model.max_loras);
        writeln!(page, "# HELP {info} Running stats on lora requests.\n# TYPE {info} gauge")?;
        for AdapterUse { adapters, at_seconds } in adapter_uses {
            let (running, waiting) = (names(&adapters.running), names(&adapters.waiting));
            writeln!(
                page,
                "{info}{{max_lora=\"{slots}\",running_lora_adapters=\"{running}\",waiting_lora_adapters=\"{waiting}\"}} \
                 {at_seconds:?}"
            )?;
        }
        let loads = "modelsim_lora_loads_total";
        writeln!(page, "# HELP {loads} LoRA adapters loaded to the device.\n# TYPE {loads} counter")?;
        for (source, count) in [("disk", stats.lora_disk_loads), ("host", stats.lora_host_loads)] {
            writeln!(page, "{loads}{{{labels},source=\"{source}\"}} {count}.0")?;
        }
        Ok(())
    }
}

/// Writes a histogram with its bounds up to `greatest`.
fn write_histogram(
    page: &mut String,
    labels: &str,
    (name, help): (&str, &str),
    histogram: &Histogram,
    greatest: f64,
) -> fmt::Result {
    writeln!(page, "# HELP vllm:{name} {help}\n# TYPE vllm:{name} histogram")?;
    for (bound, count) in histogram.cumulative().take_while(|(bound, _)| *bound <= greatest) {
        writeln!(page, "vllm:{name}_bucket{{{labels},le=\"{bound:?}\"}} {count}.0")?;
    }
    let count = histogram.count();
    writeln!(page, "vllm:{name}_bucket{{{labels},le=\"+Inf\"}} {count}.0")?;
    writeln!(page, "vllm:{name}_count{{{labels}}} {count}.0")?;
    writeln!(page, "vllm:{name}_sum{{{labels}}} {:?}", histogram.sum())
}

/// Escapes a label value for the text format.
fn escape_label(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
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
            "\nmodelsim_injected_errors_total 7.0\n",
            "\nprocess_start_time_seconds 12.500\n",
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
            "modelsim_lora_loads_total{engine=\"0\",model_name=\"llama3-8b\",source=\"disk\"} 3.0\n",
            "modelsim_lora_loads_total{engine=\"0\",model_name=\"llama3-8b\",source=\"host\"} 2.0\n",
        ] {
            assert!(page.contains(expected), "{expected} not in\n{page}");
        }
    }
}
