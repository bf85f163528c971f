//! Reports values that two endpoints share although they must be unique.

use std::collections::HashMap;
use std::fmt::Display;
use std::hash::Hash;

use signalbox_document::{Problems, item_path, member_path, quoted};
use signalbox_types::EndpointKey;

/// A value of an endpoint that no other endpoint may have.
#[derive(Clone, Debug)]
pub(super) struct UniqueValue<T> {
    /// Index of the endpoint in the list.
    pub(super) index: usize,
    /// Line of the value.
    pub(super) line: usize,
    pub(super) value: T,
}

impl<T> UniqueValue<T> {
    fn path(&self, field: &str) -> String {
        member_path(&item_path("endpoints", self.index), field)
    }
}

/// Reports each value of `field` that an earlier endpoint has.
pub(super) fn report_repeated<T>(field: &str, values: &[UniqueValue<T>], problems: &mut Problems)
where
    T: Display + Eq + Hash,
{
    let mut first: HashMap<&T, &UniqueValue<T>> = HashMap::new();
    for current in values {
        let earlier = *first.entry(&current.value).or_insert(current);
        if earlier.index != current.index {
            let value = quoted(&current.value.to_string());
            let other = item_path("endpoints", earlier.index);
            let message =
                format!("{value} is already the {field} of {other} on line {}; use another", earlier.line);
            problems.add(current.line, current.path(field), message);
        }
    }
}

/// Reports each name that differs from an earlier one but has the same key by `key_of`.
pub(super) fn report_same_key(
    names: &[UniqueValue<String>],
    key_of: impl Fn(&str) -> EndpointKey,
    problems: &mut Problems,
) {
    let mut first: HashMap<EndpointKey, &UniqueValue<String>> = HashMap::new();
    for name in names {
        let earlier = *first.entry(key_of(&name.value)).or_insert(name);
        if earlier.value != name.value {
            let (value, other) = (quoted(&name.value), quoted(&earlier.value));
            let message =
                format!("{value} has the same endpoint key as {other} on line {}; rename one", earlier.line);
            problems.add(name.line, name.path("name"), message);
        }
    }
}

#[cfg(test)]
mod tests {
    use signalbox_document::FileErrors;

    use super::*;

    #[test]
    fn names_with_the_same_key_are_reported() {
        let name = |index, value: &str| UniqueValue { index, line: index + 5, value: value.to_owned() };
        let names = [name(0, "aa"), name(1, "b"), name(2, "cc"), name(3, "aa")];
        let mut problems = Problems::default();
        report_same_key(&names, |name| EndpointKey(name.len() as u64), &mut problems);
        let expected =
            "line 7: endpoints[2].name: \"cc\" has the same endpoint key as \"aa\" on line 5; rename one";
        assert_eq!(FileErrors::from(problems).to_string(), expected);
    }
}
