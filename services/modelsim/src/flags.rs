//! The command line of `signalbox-modelsim`.

use std::net::SocketAddr;

use clap::{Parser, ValueEnum};

use crate::config::{ModelConfig, PodConfig, adapter_names};
use crate::fleet::FleetConfig;

/// Simulated model servers: OpenAI endpoints and vLLM metrics without a GPU.
#[derive(Debug, Clone, Parser)]
#[command(name = "signalbox-modelsim", version)]
pub struct Flags {
    /// Address of the first pod; each further one listens a port higher; port 0 is any free port for each
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8001")]
    pub listen: SocketAddr,
    /// How many pods, a port each
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub pods: u16,
    /// Prefix of the pods' names
    #[arg(long, default_value = "sim")]
    pub name: String,
    /// A model to serve; may be given several times, the first one labels the metrics
    #[arg(long = "model", value_name = "NAME", default_value = "llama3-8b")]
    pub models: Vec<String>,
    /// How many LoRA adapters the first model has, named adapter-0 and so on
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=10_000))]
    pub loras: u32,
    /// How many different LoRA adapters a pod can run at once: slots of its device
    #[arg(long, value_name = "SLOTS", default_value_t = ModelConfig::default().max_loras)]
    pub max_loras: u32,
    /// How many LoRA adapters a pod's host memory holds, those on the device included [default: all]
    #[arg(long, value_name = "N")]
    pub max_cpu_loras: Option<u32>,
    /// What it takes to load a LoRA adapter from disk
    #[arg(long, value_name = "MILLISECONDS", default_value_t = ModelConfig::default().lora_disk_load_us / 1_000)]
    pub lora_load_ms: u64,
    /// What it takes to load a LoRA adapter from host memory
    #[arg(long, value_name = "MILLISECONDS", default_value_t = ModelConfig::default().lora_host_load_us / 1_000)]
    pub lora_host_load_ms: u64,
    /// How much faster than real time
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    pub speed: f64,
    /// Seed of output lengths that requests leave open, and of injected errors
    #[arg(long, default_value_t = ModelConfig::default().seed)]
    pub seed: u64,
    /// Tokens the KV cache of a pod holds
    #[arg(long, value_name = "TOKENS", default_value_t = ModelConfig::default().kv_capacity_tokens)]
    pub kv_capacity_tokens: u64,
    /// Tokens per KV block
    #[arg(long, value_name = "TOKENS", default_value_t = ModelConfig::default().block_size_tokens)]
    pub block_size_tokens: u32,
    /// Tokens computed in one pass at most
    #[arg(long, value_name = "TOKENS", default_value_t = ModelConfig::default().pass_budget_tokens)]
    pub pass_budget_tokens: u32,
    /// Requests running at once in a pod at most
    #[arg(long, value_name = "N", default_value_t = ModelConfig::default().max_running)]
    pub max_running: u32,
    /// Fixed part of a pass
    #[arg(long, value_name = "MICROSECONDS", default_value_t = ModelConfig::default().pass_base_us)]
    pub pass_base_us: u64,
    /// What each decoding request adds to a pass
    #[arg(long, value_name = "MICROSECONDS", default_value_t = ModelConfig::default().pass_per_decoding_us)]
    pub pass_per_decoding_us: u64,
    /// Prompt tokens computed per second
    #[arg(long, value_name = "TOKENS", default_value_t = ModelConfig::default().prefill_tokens_per_second)]
    pub prefill_tokens_per_second: u32,
    /// Mean output length of requests that name none
    #[arg(long, value_name = "TOKENS", default_value_t = ModelConfig::default().mean_output_tokens)]
    pub mean_output_tokens: u32,
    /// What to print once ready
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    pub output: OutputFormat,
}

/// What is printed once all pods listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// A line per pod.
    Text,
    /// One line: `{"pods":[{"name":…,"address":…}…]}`.
    Json,
}

impl Flags {
    /// The pods these flags ask for.
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
    fn no_flags_mean_the_defaults() {
        Flags::command().debug_assert();
        let fleet = Flags::parse_from(["signalbox-modelsim"]).fleet();
        assert_eq!((fleet.pods, fleet.pod), (1, PodConfig::default()));
    }
}
