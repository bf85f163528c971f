//! Engines whose metrics a user describes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An engine whose metrics a user describes. What it does not name is unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CustomEngine {
    /// Name of the engine.
    pub name: String,
    /// Gauge of waiting requests.
    pub waiting: Option<MetricSpec>,
    /// Gauge of running requests.
    pub running: Option<MetricSpec>,
    /// Gauge of the share of the KV cache in use, 0 to 1.
    pub kv_use: Option<MetricSpec>,
    /// Series whose labels tell the LoRA adapters, as `vllm:lora_requests_info` does.
    pub adapters: Option<MetricSpec>,
    /// Series with [`Self::block_label`] and [`Self::blocks_label`].
    pub cache_info: Option<MetricSpec>,
    /// Label with the tokens per block of the KV cache.
    pub block_label: String,
    /// Label with the number of blocks.
    pub blocks_label: String,
    /// Gauge of the tokens per block; used only without a capacity from labels.
    pub block_tokens: Option<MetricSpec>,
    /// Gauge of the number of blocks.
    pub blocks: Option<MetricSpec>,
}

/// The series of a metric family that have certain labels, written as `name` or `name{label="value",...}`, where the
/// quotes may be left out.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MetricSpec {
    /// Name of the family.
    pub family: String,
    /// Labels that a series must have, and their values.
    pub labels: Vec<(String, String)>,
}

impl fmt::Display for MetricSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.family)?;
        for (at, (label, value)) in self.labels.iter().enumerate() {
            write!(f, "{}{label}=\"{value}\"", if at == 0 { '{' } else { ',' })?;
        }
        f.write_str(if self.labels.is_empty() { "" } else { "}" })
    }
}

impl FromStr for MetricSpec {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let invalid =
            || format!("{text:?} does not name a metric; write it like name or name{{label=\"value\"}}");
        let text = text.trim();
        let (family, labels) = match text.split_once('{') {
            None => (text, ""),
            Some((family, rest)) => (family.trim_end(), rest.strip_suffix('}').ok_or_else(invalid)?),
        };
        let mut chars = family.chars();
        let is_first = |char: char| char.is_ascii_alphabetic() || char == '_' || char == ':';
        let is_name =
            chars.next().is_some_and(is_first) && chars.all(|char| is_first(char) || char.is_ascii_digit());
        let labels: Option<Vec<_>> = labels
            .split(',')
            .map(str::trim)
            .filter(|label| !label.is_empty())
            .map(|label| {
                let (name, value) = label.split_once('=')?;
                let (name, value) = (name.trim_end(), value.trim().trim_matches('"'));
                let is_plain = !name.is_empty() && !name.contains(['"', '{']) && !value.contains(['"', '\\']);
                is_plain.then(|| (name.to_owned(), value.to_owned()))
            })
            .collect();
        match labels {
            Some(labels) if is_name => Ok(Self { family: family.to_owned(), labels }),
            _ => Err(invalid()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn specs_are_read_as_the_go_epp_does_and_written_with_quotes() {
        for (text, written) in [
            ("vllm:num_requests_waiting", "vllm:num_requests_waiting"),
            (" a_b ", "a_b"),
            ("a{}", "a"),
            ("a{x=1}", "a{x=\"1\"}"),
            ("a { x = \"1 2\" , y=z, }", "a{x=\"1 2\",y=\"z\"}"),
        ] {
            let spec: MetricSpec = text.parse().unwrap();
            assert_eq!(written, spec.to_string());
            assert_eq!(spec, written.parse().unwrap());
        }
        for text in ["", "1a", "a b", "a{x=1", "a{x}", "a{=1}", "a{x=\"1\"2\"}", "sum(a)", "a{x=1}}{"] {
            let error = text.parse::<MetricSpec>().unwrap_err();
            assert!(error.contains("write it like name"), "{text}: {error}");
        }
    }
}
