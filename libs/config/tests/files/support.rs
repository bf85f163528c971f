//! Helpers to parse files, and the default file of the Go EPP.

use signalbox_config::{Configuration, parse};
use signalbox_schedule::{Filter, Metric, Scorer};

pub(crate) const HEAD: &str = "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\n";

pub(crate) const PREFIX: Scorer = Scorer::PrefixCache { length_weight: 0.0, scale_tokens: 8_192.0 };
pub(crate) const QUEUE: Scorer = Scorer::Least(Metric::WaitingQueue);

/// Parses [`HEAD`] and `rest`, which must be valid.
pub(crate) fn read(rest: &str) -> Configuration {
    parse(&format!("{HEAD}{rest}")).unwrap_or_else(|errors| panic!("{errors}"))
}

/// Parses [`HEAD`] and `rest`, which must be invalid, and returns the problems, one per line.
pub(crate) fn problems(rest: &str) -> String {
    parse(&format!("{HEAD}{rest}")).unwrap_err().to_string()
}

pub(crate) fn warnings(configuration: &Configuration) -> Vec<String> {
    configuration.warnings.iter().map(ToString::to_string).collect()
}

pub(crate) fn filters(configuration: &Configuration) -> Vec<Filter> {
    configuration.weighted.filters.iter().map(|step| step.filter.clone()).collect()
}

pub(crate) fn scorers(configuration: &Configuration) -> Vec<(Scorer, f64)> {
    configuration.weighted.scorers.iter().map(|step| (step.scorer.clone(), step.weight)).collect()
}

pub(crate) const GO_DEFAULT: &str = "\
plugins:
- type: queue-scorer
- type: kv-cache-utilization-scorer
- type: prefix-cache-scorer
- type: metrics-data-source
- type: core-metrics-extractor
schedulingProfiles:
- name: default
  plugins:
  - { pluginRef: queue-scorer, weight: 2 }
  - { pluginRef: kv-cache-utilization-scorer, weight: 2 }
  - { pluginRef: prefix-cache-scorer, weight: 3 }
dataLayer:
  sources:
  - { pluginRef: metrics-data-source, extractors: [{ pluginRef: core-metrics-extractor }] }
";
