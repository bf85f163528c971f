//! The command line of `signalbox-modelsim`.

use std::net::SocketAddr;

use clap::{Parser, ValueEnum};

use crate::config::{PodConfig, adapter_names};
use crate::engine::ModelConfig;
use crate::fleet::FleetConfig;

/// Simulated model servers: OpenAI endpoints and vLLM metrics without a GPU.
#[derive(Debug, Clone, Parser)]
#[command(name = "signalbox-modelsim", version)]
pub struct Flags {
    /// Address of the first pod; each further pod listens one port higher; port 0 selects a free port for each
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8001")]
    pub listen: SocketAddr,
    /// Number of pods, each on a port of its own
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub pods: u16,
    /// Prefix of the pod names
    #[arg(long, default_value = "sim")]
    pub name: String,
    /// Model to serve; repeatable; the first one labels the metrics
    #[arg(long = "model", value_name = "NAME", default_value = "llama3-8b")]
    pub models: Vec<String>,
    /// Number of LoRA adapters of the first model, named adapter-0, adapter-1, …
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=10_000))]
    pub loras: u32,
    /// Device slots of a pod for LoRA adapters: the maximum number of different adapters in one batch
    #[arg(long, value_name = "SLOTS", default_value_t = ModelConfig::default().max_loras)]
    pub max_loras: u32,
    /// LoRA adapters that fit into a pod's host memory, including those on the device [default: all]
    #[arg(long, value_name = "N")]
    pub max_cpu_loras: Option<u32>,
    /// Time to load a LoRA adapter from disk
    #[arg(long, value_name = "MILLISECONDS", default_value_t = ModelConfig::default().lora_disk_load_us / 1_000)]
    pub lora_load_ms: u64,
    /// Time to load a LoRA adapter from host memory
    #[arg(long, value_name = "MILLISECONDS", default_value_t = ModelConfig::default().lora_host_load_us / 1_000)]
    pub lora_host_load_ms: u64,
    /// Speed relative to real time
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    pub speed: f64,
    /// Seed of unspecified output lengths and of injected errors
    #[arg(long, default_value_t = ModelConfig::default().seed)]
    pub seed: u64,
    /// KV cache capacity of a pod
    #[arg(long, value_name = "TOKENS", default_value_t = ModelConfig::default().kv_capacity_tokens)]
    pub kv_capacity_tokens: u64,
    /// Tokens per KV block
    #[arg(long, value_name = "TOKENS", default_value_t = ModelConfig::default().block_size_tokens)]
    pub block_size_tokens: u32,
    /// Maximum number of tokens computed in one pass
    #[arg(long, value_name = "TOKENS", default_value_t = ModelConfig::default().pass_budget_tokens)]
    pub pass_budget_tokens: u32,
    /// Maximum number of requests in a pod's running batch
    #[arg(long, value_name = "N", default_value_t = ModelConfig::default().max_running)]
    pub max_running: u32,
    /// Fixed duration of a pass
    #[arg(long, value_name = "MICROSECONDS", default_value_t = ModelConfig::default().pass_base_us)]
    pub pass_base_us: u64,
    /// Duration that each decoding request adds to a pass
    #[arg(long, value_name = "MICROSECONDS", default_value_t = ModelConfig::default().pass_per_decoding_us)]
    pub pass_per_decoding_us: u64,
    /// Prompt tokens computed per second
    #[arg(long, value_name = "TOKENS", default_value_t = ModelConfig::default().prefill_tokens_per_second)]
    pub prefill_tokens_per_second: u32,
    /// Mean output length of requests that do not specify one
    #[arg(long, value_name = "TOKENS", default_value_t = ModelConfig::default().mean_output_tokens)]
    pub mean_output_tokens: u32,
    /// Output format of the message printed when all pods are ready
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    pub output: OutputFormat,
}

/// Format of the message that is printed when all pods are listening.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// One line per pod.
    Text,
    /// One line: `{"pods":[{"name":…,"address":…}…]}`.
    Json,
}

impl Flags {
    /// Returns the fleet that the flags describe.
    #[must_use]
    pub fn fleet(&self) -> FleetConfig {
        let model = ModelConfig {
            block_size_tokens: self.block_size_tokens,
            kv_capacity_tokens: self.kv_capacity_tokens,
            pass_budget_tokens: self.pass_budget_tokens,
            max_running: self.max_running,
            pass_base_us: self.pass_base_us,
            pass_per_decoding_us: self.pass_per_decoding_us,
            prefill_tokens_per_second: self.prefill_tokens_per_second,
            max_loras: self.max_loras,
            max_cpu_loras: self.max_cpu_loras,
            lora_disk_load_us: self.lora_load_ms.saturating_mul(1_000),
            lora_host_load_us: self.lora_host_load_ms.saturating_mul(1_000),
            mean_output_tokens: self.mean_output_tokens,
            seed: self.seed,
        };
        let pod = PodConfig {
            name: self.name.clone(),
            models: self.models.clone(),
            loras: adapter_names(self.loras),
            model,
            speed: self.speed,
        };
        FleetConfig { listen: self.listen, pods: self.pods, pod }
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::Flags;
    use crate::config::PodConfig;

    #[test]
    fn default_flags_equal_the_default_config() {
        Flags::command().debug_assert();
        let fleet = Flags::parse_from(["signalbox-modelsim"]).fleet();
        assert_eq!((fleet.pods, fleet.pod), (1, PodConfig::default()));
    }
}
