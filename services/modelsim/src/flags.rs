//! The command line of `signalbox-modelsim`.

use std::net::SocketAddr;

use clap::{Parser, ValueEnum};

use crate::config::{PodConfig, adapter_names};
use crate::engine::ModelConfig;
use crate::fleet::FleetConfig;
use crate::profiles::{self, Profile};
use crate::tokenizer::TokenizerConfig;

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
    /// The model and the machine whose sizes and speeds the pods have; each can be overridden by its own flag
    #[arg(long, value_name = "NAME", default_value = profiles::DEFAULT.name, value_parser = profile_named)]
    pub profile: &'static Profile,
    /// Device slots of a pod for LoRA adapters: the maximum number of different adapters in one batch [default: the profile's]
    #[arg(long, value_name = "SLOTS")]
    pub max_loras: Option<u32>,
    /// LoRA adapters that fit into a pod's host memory, including those on the device [default: all]
    #[arg(long, value_name = "N")]
    pub max_cpu_loras: Option<u32>,
    /// Time to load a LoRA adapter from disk, in which the pod computes nothing [default: the profile's]
    #[arg(long, value_name = "MILLISECONDS")]
    pub lora_load_ms: Option<u64>,
    /// Time to load a LoRA adapter from host memory, in which the pod computes nothing [default: the profile's]
    #[arg(long, value_name = "MILLISECONDS")]
    pub lora_host_load_ms: Option<u64>,
    /// Speed relative to real time
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    pub speed: f64,
    /// Seed of unspecified output lengths and of injected errors
    #[arg(long, default_value_t = ModelConfig::default().seed)]
    pub seed: u64,
    /// KV cache capacity of a pod [default: the profile's]
    #[arg(long, value_name = "TOKENS")]
    pub kv_capacity_tokens: Option<u64>,
    /// Tokens per KV block [default: the profile's]
    #[arg(long, value_name = "TOKENS")]
    pub block_size_tokens: Option<u32>,
    /// Maximum number of tokens computed in one pass [default: the profile's]
    #[arg(long, value_name = "TOKENS")]
    pub pass_budget_tokens: Option<u32>,
    /// Maximum number of tokens of one request in a pass [default: the profile's]
    #[arg(long, value_name = "TOKENS")]
    pub long_prefill_tokens: Option<u32>,
    /// Maximum number of requests in a pod's running batch [default: the profile's]
    #[arg(long, value_name = "N")]
    pub max_running: Option<u32>,
    /// Fixed duration of a pass [default: the profile's]
    #[arg(long, value_name = "MICROSECONDS")]
    pub pass_base_us: Option<u64>,
    /// Time to read the weights, during which prefill computes [default: the profile's]
    #[arg(long, value_name = "MICROSECONDS")]
    pub pass_weights_us: Option<u64>,
    /// Duration that each decoding request adds to a pass [default: the profile's]
    #[arg(long, value_name = "MICROSECONDS")]
    pub pass_per_decoding_us: Option<u64>,
    /// Prompt tokens computed per second [default: the profile's]
    #[arg(long, value_name = "TOKENS")]
    pub prefill_tokens_per_second: Option<u32>,
    /// Time that a prefilled token adds for each token before it [default: the profile's]
    #[arg(long, value_name = "PICOSECONDS")]
    pub prefill_attention_ps: Option<u64>,
    /// Time that a decoding request adds for each token of its context [default: the profile's]
    #[arg(long, value_name = "PICOSECONDS")]
    pub decode_attention_ps: Option<u64>,
    /// Mean output length of requests that do not specify one [default: the profile's]
    #[arg(long, value_name = "TOKENS")]
    pub mean_output_tokens: Option<u32>,
    /// Mean length of a token, in thousandths of a byte [default: the profile's]
    #[arg(long, value_name = "MILLIBYTES")]
    pub token_millibytes: Option<u32>,
    /// By how many percent the mean length of a prompt's tokens differs at most from that of all [default: the profile's]
    #[arg(long, value_name = "PERCENT")]
    pub prompt_spread_percent: Option<u32>,
    /// By how many percent the length of one token differs at most from its prompt's mean [default: the profile's]
    #[arg(long, value_name = "PERCENT")]
    pub token_spread_percent: Option<u32>,
    /// Tokens that the chat template adds before the first message [default: the profile's]
    #[arg(long, value_name = "TOKENS")]
    pub chat_start_tokens: Option<u32>,
    /// Tokens that the chat template adds to each message; 0 means no template [default: the profile's]
    #[arg(long, value_name = "TOKENS")]
    pub chat_message_tokens: Option<u32>,
    /// Tell in each usage how many prompt tokens were cached, unless none were, as vLLM does with this flag
    #[arg(long)]
    pub enable_prompt_tokens_details: bool,
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
        let pod = PodConfig {
            name: self.name.clone(),
            models: self.models.clone(),
            loras: adapter_names(self.loras),
            model: self.model(),
            tokenizer: self.tokenizer(),
            prompt_tokens_details: self.enable_prompt_tokens_details,
            speed: self.speed,
        };
        FleetConfig { listen: self.listen, pods: self.pods, pod }
    }

    fn model(&self) -> ModelConfig {
        let profile = &self.profile.model;
        let microseconds = |milliseconds: u64| milliseconds.saturating_mul(1_000);
        ModelConfig {
            block_size_tokens: self.block_size_tokens.unwrap_or(profile.block_size_tokens),
            kv_capacity_tokens: self.kv_capacity_tokens.unwrap_or(profile.kv_capacity_tokens),
            pass_budget_tokens: self.pass_budget_tokens.unwrap_or(profile.pass_budget_tokens),
            long_prefill_tokens: self.long_prefill_tokens.or(profile.long_prefill_tokens),
            max_running: self.max_running.unwrap_or(profile.max_running),
            pass_base_us: self.pass_base_us.unwrap_or(profile.pass_base_us),
            pass_weights_us: self.pass_weights_us.unwrap_or(profile.pass_weights_us),
            pass_per_decoding_us: self.pass_per_decoding_us.unwrap_or(profile.pass_per_decoding_us),
            prefill_tokens_per_second: self
                .prefill_tokens_per_second
                .unwrap_or(profile.prefill_tokens_per_second),
            prefill_attention_ps: self.prefill_attention_ps.unwrap_or(profile.prefill_attention_ps),
            decode_attention_ps: self.decode_attention_ps.unwrap_or(profile.decode_attention_ps),
            max_loras: self.max_loras.unwrap_or(profile.max_loras),
            max_cpu_loras: self.max_cpu_loras.or(profile.max_cpu_loras),
            lora_disk_load_us: self.lora_load_ms.map_or(profile.lora_disk_load_us, microseconds),
            lora_host_load_us: self.lora_host_load_ms.map_or(profile.lora_host_load_us, microseconds),
            mean_output_tokens: self.mean_output_tokens.unwrap_or(profile.mean_output_tokens),
            seed: self.seed,
        }
    }

    fn tokenizer(&self) -> TokenizerConfig {
        let profile = &self.profile.tokenizer;
        TokenizerConfig {
            token_millibytes: self.token_millibytes.unwrap_or(profile.token_millibytes),
            prompt_spread_percent: self.prompt_spread_percent.unwrap_or(profile.prompt_spread_percent),
            token_spread_percent: self.token_spread_percent.unwrap_or(profile.token_spread_percent),
            chat_start_tokens: self.chat_start_tokens.unwrap_or(profile.chat_start_tokens),
            chat_message_tokens: self.chat_message_tokens.unwrap_or(profile.chat_message_tokens),
        }
    }
}

fn profile_named(name: &str) -> Result<&'static Profile, String> {
    profiles::find(name).ok_or_else(|| {
        let names: Vec<&str> = profiles::ALL.iter().map(|profile| profile.name).collect();
        format!("there is no such profile; choose one of {}", names.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::Flags;
    use crate::config::PodConfig;
    use crate::engine::ModelConfig;
    use crate::profiles;
    use crate::tokenizer::TokenizerConfig;

    #[test]
    fn default_flags_equal_the_default_config() {
        Flags::command().debug_assert();
        let fleet = Flags::parse_from(["signalbox-modelsim"]).fleet();
        assert_eq!((fleet.pods, fleet.pod), (1, PodConfig::default()));
    }

    #[test]
    fn flags_override_the_profile() {
        let parse = |flags: &[&str]| Flags::try_parse_from([&["signalbox-modelsim"], flags].concat());
        let pod = parse(&["--profile", "h100-8b", "--max-running", "8", "--token-millibytes", "4000"]);
        let pod = pod.unwrap().fleet().pod;
        let profile = profiles::find("h100-8b").unwrap();
        let model = ModelConfig { max_running: 8, ..profile.model.clone() };
        let tokenizer = TokenizerConfig { token_millibytes: 4_000, ..profile.tokenizer };
        assert_eq!((pod.model, pod.tokenizer), (model, tokenizer));
        let error = parse(&["--profile", "b200"]).unwrap_err().to_string();
        assert!(error.contains("choose one of linear, h100-8b"), "{error}");
    }
}
