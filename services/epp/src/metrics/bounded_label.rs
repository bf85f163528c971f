//! Bounds the number of values of a label that clients choose.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// Maximum number of different values of a label.
const MAX_VALUES: usize = 1_000;

/// Maximum length of a value. Values are kept, and every scrape reads them.
const MAX_VALUE_BYTES: usize = 256;

/// Stands for all values that exceed a limit.
const OTHER: &str = "other";

/// The values of one label so far.
#[derive(Debug, Default)]
pub(crate) struct BoundedLabel(Mutex<BTreeSet<String>>);

impl BoundedLabel {
    /// Returns the label for `value`: the value itself, or [`OTHER`] if it is too long or there are too many
    /// others.
    pub(crate) fn label(&self, value: &str) -> String {
        if value.len() > MAX_VALUE_BYTES {
            return OTHER.to_owned();
        }
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.contains(value) {
            return value.to_owned();
        }
        if known.len() >= MAX_VALUES {
            return OTHER.to_owned();
        }
        known.insert(value.to_owned());
        value.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::{BoundedLabel, MAX_VALUE_BYTES, MAX_VALUES, OTHER};

    #[test]
    fn values_beyond_the_limit_become_other() {
        let bounded = BoundedLabel::default();
        for number in 0..MAX_VALUES {
            assert_eq!(number.to_string(), bounded.label(&number.to_string()));
        }
        assert_eq!(OTHER, bounded.label("one more"));
        assert_eq!("7", bounded.label("7"));
    }

    #[test]
    fn overlong_value_becomes_other() {
        let bounded = BoundedLabel::default();
        assert_eq!(MAX_VALUE_BYTES, bounded.label(&"m".repeat(MAX_VALUE_BYTES)).len());
        assert_eq!(OTHER, bounded.label(&"m".repeat(MAX_VALUE_BYTES + 1)));
    }
}
