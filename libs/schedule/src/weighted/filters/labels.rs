//! Filters by the labels of endpoints.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The label with the role of an endpoint.
pub const ROLE_LABEL: &str = "llm-d.ai/role";

/// A Kubernetes label selector: endpoints must meet all requirements. Without requirements all endpoints
/// match.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelSelector {
    /// Requirements, all of which must be met.
    pub requirements: Vec<LabelRequirement>,
}

/// A requirement on one label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelRequirement {
    /// Name of the label.
    pub key: String,
    /// Condition on the value.
    pub operator: LabelOperator,
}

/// A condition on the value of a label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LabelOperator {
    /// The label has one of these values.
    In(Vec<String>),
    /// The label has none of these values, or is missing.
    NotIn(Vec<String>),
    /// The label is present.
    Exists,
    /// The label is missing.
    DoesNotExist,
}

impl LabelSelector {
    pub(super) fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.requirements.iter().all(|LabelRequirement { key, operator }| {
            let value = labels.get(key);
            match operator {
                LabelOperator::In(values) => value.is_some_and(|value| values.contains(value)),
                LabelOperator::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
                LabelOperator::Exists => value.is_some(),
                LabelOperator::DoesNotExist => value.is_none(),
            }
        })
    }
}

/// A phase of inference that an endpoint must support.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Generating output; endpoints without the label support it too.
    Decode,
    /// Processing the prompt.
    Prefill,
    /// Encoding inputs other than text.
    Encode,
}

impl Role {
    /// Returns the values of [`ROLE_LABEL`] that include this role.
    pub const fn values(self) -> &'static [&'static str] {
        match self {
            Self::Decode => &["decode", "prefill-decode", "both", "encode-prefill-decode"],
            Self::Prefill => {
                &["prefill", "encode-prefill", "prefill-decode", "both", "encode-prefill-decode"]
            }
            Self::Encode => &["encode", "encode-prefill", "encode-prefill-decode"],
        }
    }

    /// Returns whether endpoints without the label support this role.
    pub const fn is_default(self) -> bool {
        matches!(self, Self::Decode)
    }

    pub(super) fn matches(self, labels: &BTreeMap<String, String>) -> bool {
        match labels.get(ROLE_LABEL) {
            Some(value) => self.values().contains(&value.as_str()),
            None => self.is_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn requires(key: &str, operator: LabelOperator) -> LabelSelector {
        LabelSelector { requirements: vec![LabelRequirement { key: key.to_owned(), operator }] }
    }

    #[test]
    fn selector_matches_labels_as_kubernetes_does() {
        let (a, b, none) = (labels(&[("zone", "a")]), labels(&[("zone", "b")]), labels(&[]));
        let values = || vec!["a".to_owned(), "c".to_owned()];
        let matches = |selector: &LabelSelector| [&a, &b, &none].map(|labels| selector.matches(labels));
        assert_eq!([true, true, true], matches(&LabelSelector::default()));
        assert_eq!([true, false, false], matches(&requires("zone", LabelOperator::In(values()))));
        assert_eq!([false, true, true], matches(&requires("zone", LabelOperator::NotIn(values()))));
        assert_eq!([true, true, false], matches(&requires("zone", LabelOperator::Exists)));
        assert_eq!([false, false, true], matches(&requires("zone", LabelOperator::DoesNotExist)));
    }

    #[test]
    fn roles_match_their_label_values() {
        let matching = |role: Role| {
            let values = ["decode", "prefill", "encode", "both", "prefill-decode", "encode-prefill"];
            let more = ["encode-prefill-decode", "encode-decode"];
            let all = values.into_iter().chain(more);
            let mut kept: Vec<_> =
                all.filter(|value| role.matches(&labels(&[(ROLE_LABEL, value)]))).collect();
            if role.matches(&labels(&[])) {
                kept.push("absent");
            }
            kept.join(" ")
        };
        assert_eq!("decode both prefill-decode encode-prefill-decode absent", matching(Role::Decode));
        assert_eq!(
            "prefill both prefill-decode encode-prefill encode-prefill-decode",
            matching(Role::Prefill)
        );
        assert_eq!("encode encode-prefill encode-prefill-decode", matching(Role::Encode));
    }
}
