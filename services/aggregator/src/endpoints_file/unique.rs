//! What no two endpoints may share.

use std::collections::HashMap;
use std::fmt::Display;
use std::hash::Hash;

use signalbox_document::{Problems, item, member, quoted};
use signalbox_types::EndpointKey;

/// A value that one endpoint claims for itself.
#[derive(Clone, Debug)]
pub(super) struct Claim<T> {
    /// The endpoint's place in the list, from 0.
    pub(super) index: usize,
    /// Where the claim is written.
    pub(super) line: usize,
    pub(super) value: T,
}

impl<T> Claim<T> {
    fn path(&self, field: &str) -> String {
        member(&item("endpoints", self.index), field)
    }
}

/// Reports each claim of `field` that an earlier endpoint made already.
pub(super) fn report_repeated<T>(field: &str, claims: &[Claim<T>], problems: &mut Problems)
where
    T: Display + Eq + Hash,
{
    let mut first: HashMap<&T, &Claim<T>> = HashMap::new();
    for claim in claims {
        let earlier = *first.entry(&claim.value).or_insert(claim);
        if earlier.index != claim.index {
            let value = quoted(&claim.value.to_string());
            let owner = item("endpoints", earlier.index);
            let message =
                format!("{value} is also the {field} of {owner} (line {}); change one", earlier.line);
            problems.add(claim.line, claim.path(field), message);
        }
    }
}

/// Reports each name that is not an earlier one but has the same key, by `key_of`.
pub(super) fn report_same_key(
    names: &[Claim<String>],
    key_of: impl Fn(&str) -> EndpointKey,
    problems: &mut Problems,
) {
    let mut first: HashMap<EndpointKey, &Claim<String>> = HashMap::new();
    for claim in names {
        let earlier = *first.entry(key_of(&claim.value)).or_insert(claim);
        if earlier.value != claim.value {
            let (one, other) = (quoted(&claim.value), quoted(&earlier.value));
            let message = format!("{one} gives the same key as {other} on line {}; rename one", earlier.line);
            problems.add(claim.line, claim.path("name"), message);
        }
    }
}

#[cfg(test)]
mod tests {
    use signalbox_document::FileErrors;

    use super::*;

    #[test]
    fn names_with_one_key() {
        let claim = |index, value: &str| Claim { index, line: index + 5, value: value.to_owned() };
        let names = [claim(0, "aa"), claim(1, "b"), claim(2, "cc"), claim(3, "aa")];
        let mut problems = Problems::default();
        report_same_key(&names, |name| EndpointKey(name.len() as u64), &mut problems);
        let expected = "line 7: endpoints[2].name: \"cc\" gives the same key as \"aa\" on line 5; rename one";
        assert_eq!(FileErrors::from(problems).to_string(), expected);
    }
}
