//! The Prometheus page, with vLLM's families and labels.

use std::fmt::{self, Write};

use crate::config::PodConfig;
use crate::faults::Faults;
use crate::pod::Snapshot;

/// What the page is made of.
pub(crate) struct Page<'a> {
    pub(crate) config: &'a PodConfig,
    pub(crate) snapshot: Snapshot,
    pub(crate) faults: Faults,
    /// Unix time of the pod's start.
    pub(crate) started_at_seconds: f64,
}

impl Page<'_> {
    /// The page in Prometheus text format 0.0.4.
    pub(crate) fn render(&self) -> String {
        let mut page = String::with_capacity(8 * 1024);
        self.write(&mut page).expect("writing to a String does not fail");
        page
    }

    fn write(&self, page: &mut String) -> fmt::Result {
        let labels = format!("engine=\"0\",model_name=\"{}\"", escaped(&self.config.models[0]));
        self.write_gauges(page, &labels)?;
        self.write_counters(page, &labels)?;
        self.write_first_token(page, &labels)?;
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

    fn write_first_token(&self, page: &mut String, labels: &str) -> fmt::Result {
        let (name, histogram) = ("vllm:time_to_first_token_seconds", &self.snapshot.first_token);
        writeln!(
            page,
            "# HELP {name} Histogram of time to first token in seconds.\n# TYPE {name} histogram"
        )?;
        for (bound, count) in histogram.cumulative() {
            writeln!(page, "{name}_bucket{{{labels},le=\"{bound:?}\"}} {count}.0")?;
        }
        let count = histogram.count();
        writeln!(
            page,
            "{name}_bucket{{{labels},le=\"+Inf\"}} {count}.0\n{name}_count{{{labels}}} {count}.0"
        )?;
        writeln!(page, "{name}_sum{{{labels}}} {:?}", histogram.sum_seconds())
    }
}

/// A label value as the text format wants it.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::Page;
    use crate::config::PodConfig;
    use crate::engine::Stats;
    use crate::faults::Faults;
    use crate::pod::Snapshot;

    #[test]
    fn every_line_is_a_comment_or_a_sample_and_overrides_show() {
        let config = PodConfig { models: vec!["a\"b".to_owned()], ..PodConfig::default() };
        let stats = Stats { running: 3, waiting: 1, used_blocks: 1, total_blocks: 4, ..Stats::default() };
        let snapshot = Snapshot { stats, ..Snapshot::default() };
        let faults = Faults { waiting: Some(9), ..Faults::default() };
        let page = Page { config: &config, snapshot, faults, started_at_seconds: 12.5 }.render();
        for line in page.lines().filter(|line| !line.starts_with("# ")) {
            let (_, value) = line.rsplit_once(' ').unwrap();
            assert!(value.parse::<f64>().is_ok(), "{line}");
        }
        for expected in [
            "vllm:num_requests_running{engine=\"0\",model_name=\"a\\\"b\"} 3.0\n",
            "vllm:num_requests_waiting{engine=\"0\",model_name=\"a\\\"b\"} 9.0\n",
            "vllm:kv_cache_usage_perc{engine=\"0\",model_name=\"a\\\"b\"} 0.25\n",
            "num_gpu_blocks=\"4\"} 1.0\n",
            "\nprocess_start_time_seconds 12.500\n",
        ] {
            assert!(page.contains(expected), "{expected} not in\n{page}");
        }
    }
}
