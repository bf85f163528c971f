//! Filters that go by an endpoint's labels.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The label that says which part of the work an endpoint does.
pub const ROLE_LABEL: &str = "llm-d.ai/role";

/// What an endpoint's labels must be, as a Kubernetes label selector says it: all requirements together. Without any, all pass.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selector {
    /// What must hold.
    pub requirements: Vec<Requirement>,
}

/// What one label must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requirement {
    /// The label.
    pub key: String,
    /// What must hold of it.
    pub must: Must,
}

/// What must hold of a label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Must {
    /// It is there and one of these.
    In(Vec<String>),
    /// It is none of these, or not there.
    NotIn(Vec<String>),
    /// It is there.
    Exist,
    /// It is not there.
    NotExist,
}

impl Selector {
    pub(super) fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.requirements.iter().all(|Requirement { key, must }| {
            let value = labels.get(key);
            match must {
                Must::In(values) => value.is_some_and(|value| values.contains(value)),
                Must::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
                Must::Exist => value.is_some(),
                Must::NotExist => value.is_none(),
            }
        })
    }
}

/// Which part of the work an endpoint must be able to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Generating; an endpoint without the label does it too.
    Decode,
    /// Processing the prompt.
    Prefill,
    /// Encoding what is no text.
    Encode,
}

impl Role {
    /// The values of [`ROLE_LABEL`] that stand for it.
    pub const fn values(self) -> &'static [&'static str] {
        match self {
            Self::Decode => &["decode", "prefill-decode", "both", "encode-prefill-decode"],
            Self::Prefill => {
                &["prefill", "encode-prefill", "prefill-decode", "both", "encode-prefill-decode"]
            }
            Self::Encode => &["encode", "encode-prefill", "encode-prefill-decode"],
        }
    }

    /// Whether an endpoint without the label does it.
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

    fn requires(key: &str, must: Must) -> Selector {
        Selector { requirements: vec![Requirement { key: key.to_owned(), must }] }
    }

    #[test]
    fn a_selector_reads_labels_as_kubernetes_does() {
        let (a, b, none) = (labels(&[("zone", "a")]), labels(&[("zone", "b")]), labels(&[]));
        let values = || vec!["a".to_owned(), "c".to_owned()];
        let verdicts = |selector: &Selector| [&a, &b, &none].map(|labels| selector.matches(labels));
        assert_eq!([true, true, true], verdicts(&Selector::default()));
        assert_eq!([true, false, false], verdicts(&requires("zone", Must::In(values()))));
        assert_eq!([false, true, true], verdicts(&requires("zone", Must::NotIn(values()))));
        assert_eq!([true, true, false], verdicts(&requires("zone", Must::Exist)));
        assert_eq!([false, false, true], verdicts(&requires("zone", Must::NotExist)));
    }

    #[test]
    fn roles_by_label() {
        let verdicts = |role: Role| {
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
        assert_eq!("decode both prefill-decode encode-prefill-decode absent", verdicts(Role::Decode));
        assert_eq!(
            "prefill both prefill-decode encode-prefill encode-prefill-decode",
            verdicts(Role::Prefill)
        );
        assert_eq!("encode encode-prefill encode-prefill-decode", verdicts(Role::Encode));
    }
}
