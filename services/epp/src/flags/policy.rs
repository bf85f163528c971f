//! Loads the policy from an `EndpointPickerConfig`.

use std::path::{Path, PathBuf};

use clap::Args;
use signalbox_config::{Configuration, parse};
use signalbox_document::{ReadError, read_file};
use signalbox_intake::Parsers;
use signalbox_schedule::Policy;

/// Flags that name the source of the policy.
#[derive(Args, Clone, Debug, Default)]
pub struct PolicyFlags {
    /// EndpointPickerConfig file with the policy, as for the Go EPP [default: least time].
    #[arg(long, alias = "config", value_name = "FILE")]
    pub config_file: Option<PathBuf>,
    /// EndpointPickerConfig as text; overrides --config-file.
    #[arg(long, value_name = "YAML")]
    pub config_text: Option<String>,
}

/// The policy and parsers of an `EndpointPickerConfig`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LoadedPolicy {
    /// How endpoints are chosen.
    pub policy: Policy,
    /// Enabled request parsers.
    pub parsers: Parsers,
}

impl PolicyFlags {
    /// Loads the configuration, or the default one if no flag is given. Logs warnings about likely mistakes.
    ///
    /// # Errors
    /// The file cannot be read, or the configuration is invalid; the error lists all problems.
    pub fn load(&self) -> Result<LoadedPolicy, ReadError> {
        let configuration = match (&self.config_text, &self.config_file) {
            (Some(text), _) => {
                let path = Path::new("--config-text").to_owned();
                parse(text).map_err(|errors| ReadError::Invalid { path, errors })?
            }
            (None, Some(path)) => read_file(path, parse)?,
            (None, None) => return Ok(LoadedPolicy::default()),
        };
        let Configuration { warnings, .. } = &configuration;
        for warning in warnings {
            tracing::warn!(%warning, "warning about the policy configuration");
        }
        tracing::info!(profile = configuration.profile, "loaded the policy configuration");
        let policy = configuration.policy();
        Ok(LoadedPolicy { policy, parsers: Parsers::new(configuration.parsers) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\nplugins: [{ type: queue-scorer }]";

    fn flags(file: Option<&str>, text: Option<&str>) -> PolicyFlags {
        PolicyFlags { config_file: file.map(PathBuf::from), config_text: text.map(str::to_owned) }
    }

    #[test]
    fn default_applies_without_a_file_and_text_overrides_a_file() {
        assert_eq!(LoadedPolicy::default(), flags(None, None).load().unwrap());
        let loaded = flags(Some("/nowhere"), Some(TEXT)).load().unwrap();
        assert!(matches!(loaded.policy, Policy::Weighted(weighted) if weighted.scorers.len() == 1));
    }

    #[test]
    fn errors_name_their_source() {
        let error = flags(None, Some("plugins: []")).load().unwrap_err().to_string();
        assert!(error.starts_with("--config-text:\nline 1: apiVersion: missing"), "{error}");
        let error = flags(Some("/nowhere"), None).load().unwrap_err().to_string();
        assert!(error.starts_with("/nowhere: "), "{error}");
    }
}
