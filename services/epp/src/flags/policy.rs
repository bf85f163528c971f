//! Loads the policy from an `EndpointPickerConfig`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, ValueEnum};
use signalbox_admission::{FlowControl, FlowMode};
use signalbox_config::{Configuration, parse};
use signalbox_document::{ReadError, read_file};
use signalbox_intake::Parsers;
use signalbox_schedule::Policy;
use signalbox_types::PageSettings;

/// Flags that name the source of the policy.
#[derive(Args, Clone, Debug, Default)]
pub struct PolicyFlags {
    /// EndpointPickerConfig file with the policy, as for the Go EPP [default: least time].
    #[arg(long, alias = "config", value_name = "FILE")]
    pub config_file: Option<PathBuf>,
    /// EndpointPickerConfig as text; overrides --config-file.
    #[arg(long, value_name = "YAML")]
    pub config_text: Option<String>,
    /// Whether requests wait while the pool is full. Off, those with a negative priority are refused then
    /// [default: as the configuration's feature gate flowControl says; on without a configuration]
    #[arg(long, value_name = "on|off")]
    pub flow_control: Option<FlowSwitch>,
}

/// Turns flow control on or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FlowSwitch {
    /// Requests wait.
    On,
    /// No request waits.
    Off,
}

impl From<FlowSwitch> for FlowMode {
    fn from(switch: FlowSwitch) -> Self {
        match switch {
            FlowSwitch::On => Self::On,
            FlowSwitch::Off => Self::Off,
        }
    }
}

/// The policy, flow control and parsers of an `EndpointPickerConfig`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LoadedPolicy {
    /// How endpoints are chosen.
    pub policy: Policy,
    /// Which requests wait, and for how long.
    pub flow_control: FlowControl,
    /// Enabled request parsers.
    pub parsers: Parsers,
    /// How metrics pages are found and read, which is not a replica's part.
    pub pages: PageSettings,
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
            (None, None) => {
                let mode = self.flow_control.unwrap_or(FlowSwitch::On).into();
                let flow_control = FlowControl { mode, ..FlowControl::default() };
                return Ok(LoadedPolicy { flow_control, ..LoadedPolicy::default() });
            }
        };
        let Configuration { warnings, .. } = &configuration;
        for warning in warnings {
            tracing::warn!(%warning, "warning about the policy configuration");
        }
        tracing::info!(profile = configuration.profile, "loaded the policy configuration");
        let (policy, pages) = (configuration.policy(), configuration.pages.clone());
        let section = configuration.flow_control;
        let gate = if section.is_enabled { FlowSwitch::On } else { FlowSwitch::Off };
        let mode = self.flow_control.unwrap_or(gate).into();
        let flow_control = FlowControl { mode, settings: Arc::new(section.settings) };
        Ok(LoadedPolicy { policy, flow_control, parsers: Parsers::new(configuration.parsers), pages })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\nplugins: [{ type: queue-scorer }]";

    fn flags(file: Option<&str>, text: Option<&str>) -> PolicyFlags {
        PolicyFlags {
            config_file: file.map(PathBuf::from),
            config_text: text.map(str::to_owned),
            flow_control: None,
        }
    }

    #[test]
    fn flow_control_is_as_the_flag_says_or_the_gate_and_on_without_a_configuration() {
        let gate = format!("{TEXT}\nfeatureGates: [flowControl]\nflowControl: {{ maxRequests: 7 }}");
        for (text, switch, mode) in [
            (None, None, FlowMode::On),
            (None, Some(FlowSwitch::Off), FlowMode::Off),
            (Some(TEXT), None, FlowMode::Off),
            (Some(TEXT), Some(FlowSwitch::On), FlowMode::On),
            (Some(&*gate), None, FlowMode::On),
            (Some(&*gate), Some(FlowSwitch::Off), FlowMode::Off),
        ] {
            let flags = PolicyFlags { flow_control: switch, ..flags(None, text) };
            let loaded = flags.load().unwrap().flow_control;
            assert_eq!(mode, loaded.mode, "{text:?} {switch:?}");
            assert_eq!(text == Some(&*gate), loaded.settings.caps.requests == 7);
        }
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
