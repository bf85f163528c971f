//! Label values that clients choose, and how many of them there may be.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// So many different values a label may have.
const MOST: usize = 1_000;

/// The longest value, in bytes. They are kept, and read by every scrape.
const VALUE_BYTES: usize = 256;

/// What stands for all others.
const OTHER: &str = "other";

/// The values of one label so far.
#[derive(Debug, Default)]
pub(crate) struct Bounded(Mutex<BTreeSet<String>>);

impl Bounded {
    /// `value`, or what stands for it where there are too many others, or it is too long.
    pub(crate) fn label(&self, value: &str) -> String {
        if value.len() > VALUE_BYTES {
            return OTHER.to_owned();
        }
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.contains(value) {
            return value.to_owned();
        }
        if known.len() >= MOST {
            return OTHER.to_owned();
        }
        known.insert(value.to_owned());
        value.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::{Bounded, MOST, OTHER, VALUE_BYTES};

    #[test]
    fn what_is_too_much_is_other() {
        let bounded = Bounded::default();
        for number in 0..MOST {
            assert_eq!(number.to_string(), bounded.label(&number.to_string()));
        }
        assert_eq!(OTHER, bounded.label("one more"));
        assert_eq!("7", bounded.label("7"));
    }

    #[test]
    fn what_is_too_long_is_other() {
        let bounded = Bounded::default();
        assert_eq!(VALUE_BYTES, bounded.label(&"m".repeat(VALUE_BYTES)).len());
        assert_eq!(OTHER, bounded.label(&"m".repeat(VALUE_BYTES + 1)));
    }
}
