//! What decisions go by, as a configuration file says it.

use std::path::{Path, PathBuf};

use clap::Args;
use signalbox_config::{Configuration, parse};
use signalbox_document::{ReadError, read_file};
use signalbox_intake::Parsers;
use signalbox_schedule::Policy;

/// What the policy is read from.
#[derive(Args, Clone, Debug, Default)]
pub struct PolicyFlags {
    /// What decisions go by: an EndpointPickerConfig file, as for the Go EPP [default: least expected time to serve].
    #[arg(long, alias = "config", value_name = "FILE")]
    pub config_file: Option<PathBuf>,
    /// The same as text; it wins over the file.
    #[arg(long, value_name = "YAML")]
    pub config_text: Option<String>,
}

/// What a configuration file chooses.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Chosen {
    /// What decisions go by.
    pub policy: Policy,
    /// Which APIs are spoken.
    pub parsers: Parsers,
}

impl PolicyFlags {
    /// What is given, the default where nothing is. Logs what may not have been meant.
    ///
    /// # Errors
    /// [`ReadError`] with everything that is wrong with the file.
    pub fn read(&self) -> Result<Chosen, ReadError> {
        let configuration = match (&self.config_text, &self.config_file) {
            (Some(text), _) => {
                let path = Path::new("--config-text").to_owned();
                parse(text).map_err(|errors| ReadError::Invalid { path, errors })?
            }
            (None, Some(path)) => read_file(path, parse)?,
            (None, None) => return Ok(Chosen::default()),
        };
        let Configuration { warnings, .. } = &configuration;
        for warning in warnings {
            tracing::warn!(%warning, "configuration");
        }
        tracing::info!(profile = configuration.profile, "decisions go by the configuration file");
        let policy = configuration.policy();
        Ok(Chosen { policy, parsers: Parsers::of(configuration.parsers) })
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
    fn without_a_file_the_default_holds_and_text_wins_over_a_file() {
        assert_eq!(Chosen::default(), flags(None, None).read().unwrap());
        let read = flags(Some("/nowhere"), Some(TEXT)).read().unwrap();
        assert!(matches!(read.policy, Policy::Weighted(weighted) if weighted.scorers.len() == 1));
    }

    #[test]
    fn problems_name_where_they_are() {
        let error = flags(None, Some("plugins: []")).read().unwrap_err().to_string();
        assert!(error.starts_with("--config-text:\nline 1: apiVersion: missing"), "{error}");
        let error = flags(Some("/nowhere"), None).read().unwrap_err().to_string();
        assert!(error.starts_with("/nowhere: "), "{error}");
    }
}
