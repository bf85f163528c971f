//! The configuration of one simulated pod.

use std::collections::BTreeSet;

use crate::engine::{AdapterId, ConfigError, ModelConfig};
use crate::tokenizer::TokenizerConfig;

/// Configuration of one simulated pod: a model server with a name and a speed.
#[derive(Debug, Clone, PartialEq)]
pub struct PodConfig {
    /// Name of the pod, sent in the header `x-signalbox-pod` of every response.
    pub name: String,
    /// Names of the served models; the first one labels the metrics.
    pub models: Vec<String>,
    /// Names of the LoRA adapters of the first model. A request selects one like a model.
    pub loras: Vec<String>,
    /// Size and speed of the model server.
    pub model: ModelConfig,
    /// How many tokens a prompt has.
    pub tokenizer: TokenizerConfig,
    /// Whether usage tells how many prompt tokens were cached, like vLLM's `--enable-prompt-tokens-details`.
    pub prompt_tokens_details: bool,
    /// Speed relative to real time; 1 is real time.
    pub speed: f64,
}

impl Default for PodConfig {
    fn default() -> Self {
        Self {
            name: "sim".to_owned(),
            models: vec!["llama3-8b".to_owned()],
            loras: Vec::new(),
            model: ModelConfig::default(),
            tokenizer: TokenizerConfig::default(),
            prompt_tokens_details: false,
            speed: 1.0,
        }
    }
}

/// Returns the names of `count` LoRA adapters: adapter-0, adapter-1, …
#[must_use]
pub fn adapter_names(count: u32) -> Vec<String> {
    (0..count).map(|number| format!("adapter-{number}")).collect()
}

impl PodConfig {
    /// Returns the number of the LoRA adapter with this name.
    pub(crate) fn adapter(&self, name: &str) -> Option<AdapterId> {
        self.loras.iter().position(|lora| lora == name).map(|position| position as AdapterId)
    }

    /// Checks that a pod can start with this configuration.
    ///
    /// # Errors
    /// Returns all problems at once.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let name_valid = !self.name.is_empty() && self.name.bytes().all(|byte| byte.is_ascii_graphic());
        let models_valid = !self.models.is_empty() && self.models.iter().all(|model| !model.is_empty());
        let loras: BTreeSet<&String> = self.loras.iter().collect();
        let adapter_names_unique =
            loras.len() == self.loras.len() && !self.models.iter().any(|model| loras.contains(model));
        let adapter_names_valid = self.loras.iter().all(|lora| !lora.is_empty() && !lora.contains(','));
        let own = ConfigError::check(&[
            (name_valid, "the name of a pod must consist of visible ASCII characters without spaces"),
            (models_valid, "a pod must serve at least one model, and model names must not be empty"),
            (adapter_names_valid, "the name of a LoRA adapter must not be empty or contain a comma"),
            (
                adapter_names_unique,
                "the names of LoRA adapters must be unique and differ from those of the models",
            ),
            (
                self.speed.is_finite() && self.speed > 0.0 && self.speed <= 1e6,
                "the speed must be above 0 and at most 1e6",
            ),
        ]);
        let problems: Vec<String> = [own, self.model.validate(), self.tokenizer.validate()]
            .into_iter()
            .filter_map(Result::err)
            .flat_map(|error| error.problems)
            .collect();
        if problems.is_empty() { Ok(()) } else { Err(ConfigError { problems }) }
    }
}

#[cfg(test)]
mod tests {
    use super::{ModelConfig, PodConfig, adapter_names};

    #[test]
    fn defaults_are_valid() {
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
    fn adapter_slots_host_memory_and_names_are_checked() {
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
}
