//! How big and how fast a simulated model server is.

use std::collections::BTreeSet;

use crate::engine::{AdapterId, Rejection, RequestId};

/// The model and the machine it runs on. All times and rates are virtual; a pod's speed factor (see
/// [`PodConfig`]) turns them into wall-clock time. The default is like an 8B model on one H100.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelConfig {
    /// Tokens per KV block.
    pub block_size_tokens: u32,
    /// Tokens the KV cache holds, rounded down to whole blocks.
    pub kv_capacity_tokens: u64,
    /// Tokens computed in one pass at most, prompts and outputs together.
    pub pass_budget_tokens: u32,
    /// Requests in the running batch at most.
    pub max_running: u32,
    /// Length of a pass before anything is computed in it.
    pub pass_base_us: u64,
    /// What each decoding request adds to a pass.
    pub pass_per_decoding_us: u64,
    /// Prompt tokens computed per second.
    pub prefill_tokens_per_second: u32,
    /// Slots for LoRA adapters on the device: so many different ones may run at once.
    pub max_loras: u32,
    /// LoRA adapters that host memory holds, those on the device included; without a number, all.
    pub max_cpu_loras: Option<u32>,
    /// What it takes to load an adapter from disk.
    pub lora_disk_load_us: u64,
    /// What it takes to load an adapter from host memory.
    pub lora_host_load_us: u64,
    /// Mean output length of requests that name none: uniform between half and one and a half of it.
    pub mean_output_tokens: u32,
    /// Seed of those lengths.
    pub seed: u64,
}

impl Default for ModelConfig {
    fn default() -> Self {
        Self {
            block_size_tokens: 16,
            kv_capacity_tokens: 524_288,
            pass_budget_tokens: 2_048,
            max_running: 256,
            pass_base_us: 6_000,
            pass_per_decoding_us: 350,
            prefill_tokens_per_second: 8_000,
            max_loras: 4,
            max_cpu_loras: None,
            lora_disk_load_us: 300_000,
            lora_host_load_us: 20_000,
            mean_output_tokens: 128,
            seed: 1,
        }
    }
}

/// An hour.
const MAX_LORA_LOAD_US: u64 = 3_600_000_000;

/// One simulated pod: a model server with a name and a clock.
#[derive(Debug, Clone, PartialEq)]
pub struct PodConfig {
    /// Reported in the header `x-signalbox-pod` of every response.
    pub name: String,
    /// Names of the models it serves; the first one labels its metrics.
    pub models: Vec<String>,
    /// Names of the LoRA adapters of the first model; a request asks for one as for a model.
    pub loras: Vec<String>,
    /// Sizes and rates.
    pub model: ModelConfig,
    /// How much faster than real time everything happens; 1 is real time.
    pub speed: f64,
}

impl Default for PodConfig {
    fn default() -> Self {
        Self {
            name: "sim".to_owned(),
            models: vec!["llama3-8b".to_owned()],
            loras: Vec::new(),
            model: ModelConfig::default(),
            speed: 1.0,
        }
    }
}

/// The names of so many LoRA adapters: adapter-0 and so on.
#[must_use]
pub fn adapter_names(count: u32) -> Vec<String> {
    (0..count).map(|number| format!("adapter-{number}")).collect()
}

/// Everything that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", problems.join("; "))]
pub struct ConfigError {
    /// One sentence each.
    pub problems: Vec<String>,
}

fn checked(rules: &[(bool, &str)]) -> Result<(), ConfigError> {
    let problems: Vec<String> =
        rules.iter().filter(|(holds, _)| !holds).map(|(_, problem)| (*problem).to_owned()).collect();
    if problems.is_empty() { Ok(()) } else { Err(ConfigError { problems }) }
}

impl ModelConfig {
    /// Number of whole KV blocks.
    #[must_use]
    pub fn total_blocks(&self) -> u32 {
        (self.kv_capacity_tokens / u64::from(self.block_size_tokens.max(1))) as u32
    }

    /// Tokens that fit into the whole KV blocks: the longest possible request.
    #[must_use]
    pub fn limit_tokens(&self) -> u64 {
        u64::from(self.total_blocks()) * u64::from(self.block_size_tokens)
    }

    /// Checks that a server of these sizes can work.
    ///
    /// # Errors
    /// Every problem at once.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let capacity_blocks = self.kv_capacity_tokens / u64::from(self.block_size_tokens.max(1));
        checked(&[
            (self.block_size_tokens >= 1, "the KV block size must be at least 1 token"),
            (capacity_blocks >= 1, "the KV cache must hold at least one block"),
            // Token counts are 32 bits wide and a request may fill the whole cache.
            (self.kv_capacity_tokens <= 1 << 31, "the KV cache must not exceed 2^31 tokens"),
            (self.max_running >= 1, "at least one request must be allowed to run"),
            (
                self.pass_budget_tokens >= self.max_running,
                "the tokens of a pass must be at least the number of requests that may run",
            ),
            (self.prefill_tokens_per_second >= 1, "the prefill rate must be at least 1 token per second"),
            (self.max_loras >= 1, "the device must have at least one slot for LoRA adapters"),
            (
                self.max_cpu_loras.is_none_or(|capacity| capacity >= self.max_loras),
                "host memory must hold at least as many LoRA adapters as the device has slots",
            ),
            (
                self.lora_disk_load_us.max(self.lora_host_load_us) <= MAX_LORA_LOAD_US,
                "to load a LoRA adapter must not take longer than an hour",
            ),
            (self.mean_output_tokens >= 1, "the mean output length must be at least 1 token"),
        ])
    }

    /// Length of a pass: base + per decoding request + prefill tokens / prefill rate, rounded up.
    pub(crate) fn pass_duration_us(&self, decoding: u32, prefill_tokens: u32) -> u64 {
        let prefill_us =
            (u64::from(prefill_tokens) * 1_000_000).div_ceil(u64::from(self.prefill_tokens_per_second));
        // A pass without length would never let virtual time move.
        (self.pass_base_us + self.pass_per_decoding_us * u64::from(decoding) + prefill_us).max(1)
    }

    /// How many tokens a request will produce: what it asks for, or a draw that depends on nothing but the seed and
    /// its number. Prompt and output must fit into the KV cache, all but the last token, which is never computed.
    pub(crate) fn output_target_tokens(
        &self,
        id: RequestId,
        prompt_tokens: u32,
        max_output_tokens: Option<u32>,
    ) -> Result<u32, Rejection> {
        let output_tokens = match max_output_tokens {
            _ if prompt_tokens == 0 => return Err(Rejection::EmptyPrompt),
            Some(0) => return Err(Rejection::NoOutput),
            Some(wanted) => wanted,
            None => self.draw_output_tokens(id, prompt_tokens),
        };
        let limit_tokens = self.limit_tokens();
        if u64::from(prompt_tokens) + u64::from(output_tokens) - 1 > limit_tokens {
            return Err(Rejection::TooLarge { prompt_tokens, output_tokens, limit_tokens });
        }
        Ok(output_tokens)
    }

    fn draw_output_tokens(&self, id: RequestId, prompt_tokens: u32) -> u32 {
        let mean = u64::from(self.mean_output_tokens);
        let drawn = mean.div_ceil(2) + crate::seeded::mix(self.seed, id) % mean;
        let room = self.limit_tokens().saturating_sub(u64::from(prompt_tokens)) + 1;
        drawn.min(room) as u32
    }
}

impl PodConfig {
    /// The number of the LoRA adapter of this name.
    pub(crate) fn adapter(&self, name: &str) -> Option<AdapterId> {
        self.loras.iter().position(|lora| lora == name).map(|position| position as AdapterId)
    }

    /// Checks that a pod can be started from this.
    ///
    /// # Errors
    /// Every problem at once.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let named = !self.name.is_empty() && self.name.bytes().all(|byte| byte.is_ascii_graphic());
        let served = !self.models.is_empty() && self.models.iter().all(|model| !model.is_empty());
        let loras: BTreeSet<&String> = self.loras.iter().collect();
        let adapters_differ =
            loras.len() == self.loras.len() && !self.models.iter().any(|model| loras.contains(model));
        let adapters_named = self.loras.iter().all(|lora| !lora.is_empty() && !lora.contains(','));
        let own = checked(&[
            (named, "a pod's name must be visible ASCII characters without spaces"),
            (served, "a pod must serve at least one model, and a model's name must not be empty"),
            (adapters_named, "the name of a LoRA adapter must not be empty or have a comma"),
            (adapters_differ, "LoRA adapters must have names of their own, other than the models'"),
            (
                self.speed.is_finite() && self.speed > 0.0 && self.speed <= 1e6,
                "the speed must be above 0 and at most 1e6",
            ),
        ]);
        match (own, self.model.validate()) {
            (Err(mut own), Err(model)) => {
                own.problems.extend(model.problems);
                Err(own)
            }
            (own, model) => own.and(model),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ModelConfig, PodConfig, adapter_names};
    use crate::engine::Rejection;

    #[test]
    fn the_defaults_are_valid() {
        assert_eq!(PodConfig::default().validate(), Ok(()));
        assert_eq!(ModelConfig::default().total_blocks(), 32_768);
    }

    #[test]
    fn all_problems_are_reported_at_once() {
        let model = ModelConfig { block_size_tokens: 0, max_running: 4_096, ..ModelConfig::default() };
        let error = PodConfig { model, speed: f64::NAN, ..PodConfig::default() }.validate().unwrap_err();
        assert_eq!(error.problems.len(), 3, "{error}");
    }

    #[test]
    fn slots_host_memory_and_names_of_adapters_are_checked() {
        let model = ModelConfig { max_loras: 5, max_cpu_loras: Some(4), ..ModelConfig::default() };
        let named = |loras: &[&str]| loras.iter().map(|name| (*name).to_owned()).collect();
        let pod = PodConfig { loras: named(&["sql", "llama3-8b", "a,b"]), model, ..PodConfig::default() };
        assert_eq!(pod.validate().unwrap_err().problems.len(), 3);
        let twice = PodConfig { loras: named(&["sql", "sql"]), ..PodConfig::default() };
        assert_eq!(twice.validate().unwrap_err().problems.len(), 1);
        let none = ModelConfig { max_loras: 0, lora_host_load_us: u64::MAX, ..ModelConfig::default() };
        assert_eq!(none.validate().unwrap_err().problems.len(), 2);
        let pod = PodConfig { loras: adapter_names(2), ..PodConfig::default() };
        assert_eq!(
            (pod.validate(), pod.adapter("adapter-1"), pod.adapter("llama3-8b")),
            (Ok(()), Some(1), None)
        );
    }

    #[test]
    fn a_pass_is_as_long_as_its_parts() {
        assert_eq!(ModelConfig::default().pass_duration_us(10, 2_038), 6_000 + 3_500 + 254_750);
    }

    #[test]
    fn output_length_is_what_was_asked_or_drawn_around_the_mean() {
        let config = ModelConfig { kv_capacity_tokens: 1_024, ..ModelConfig::default() };
        assert_eq!(config.output_target_tokens(1, 24, Some(1_001)), Ok(1_001));
        assert!(matches!(config.output_target_tokens(1, 24, Some(1_002)), Err(Rejection::TooLarge { .. })));
        assert_eq!(config.output_target_tokens(1, 0, None), Err(Rejection::EmptyPrompt));
        assert_eq!(config.output_target_tokens(1, 8, Some(0)), Err(Rejection::NoOutput));
        let drawn: Vec<u32> =
            (0..1_000).map(|id| config.output_target_tokens(id, 8, None).unwrap()).collect();
        assert!(drawn.iter().all(|tokens| (64..192).contains(tokens)));
        let mean = drawn.iter().sum::<u32>() / 1_000;
        assert!((120..136).contains(&mean), "{mean}");
        assert_eq!(config.output_target_tokens(9, 1_024, None), Ok(1));
    }
}
