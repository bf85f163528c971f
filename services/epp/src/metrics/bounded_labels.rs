//! Bounds the combinations of labels that clients choose. Each combination is a series of several metrics.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// Maximum number of combinations of which a request was served.
const MAX_SERVED: usize = 1_000;

/// Maximum number of combinations of which no request was served.
const MAX_UNSERVED: usize = 100;

/// Maximum length of a value. Values are kept, and every scrape reads them.
const MAX_VALUE_BYTES: usize = 256;

/// Stands for values that are too long, and for all values of combinations that exceed a limit.
const OTHER: &str = "other";

/// Whether a request was served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Service {
    /// It was, as far as was seen.
    Served,
    /// It was refused, answered with an error, or not answered.
    #[default]
    Unserved,
}

impl Service {
    /// Returns what the status of a response tells; `None` is one that cannot be read.
    pub(crate) fn of_status(status: Option<u16>) -> Self {
        match status {
            Some(status) if !(200..300).contains(&status) => Self::Unserved,
            _ => Self::Served,
        }
    }
}

/// The combinations of `N` labels so far. Any client can make up names of models and get errors for them, so
/// combinations of which no request was served have a limit of their own, and leave the room of the others alone.
#[derive(Debug)]
pub(crate) struct BoundedLabels<const N: usize>(Mutex<Known<N>>);

#[derive(Debug)]
struct Known<const N: usize> {
    served: BTreeSet<[String; N]>,
    unserved: BTreeSet<[String; N]>,
}

impl<const N: usize> Default for BoundedLabels<N> {
    fn default() -> Self {
        Self(Mutex::new(Known { served: BTreeSet::new(), unserved: BTreeSet::new() }))
    }
}

impl<const N: usize> BoundedLabels<N> {
    /// Returns the labels for a request with these values: the values themselves, or [`OTHER`] for those that are too
    /// long, and for all if there are too many other combinations.
    pub(crate) fn labels(&self, values: [&str; N], service: Service) -> [String; N] {
        let labels = values.map(|value| if value.len() > MAX_VALUE_BYTES { OTHER } else { value }.to_owned());
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.admit(&labels, service) { labels } else { [OTHER; N].map(str::to_owned) }
    }
}

impl<const N: usize> Known<N> {
    /// Returns whether the combination is one of those that are counted by themselves.
    fn admit(&mut self, labels: &[String; N], service: Service) -> bool {
        if self.served.contains(labels) {
            return true;
        }
        let is_unserved = self.unserved.contains(labels);
        match service {
            Service::Served if self.served.len() < MAX_SERVED => {
                self.unserved.remove(labels);
                self.served.insert(labels.clone())
            }
            Service::Unserved if !is_unserved && self.unserved.len() < MAX_UNSERVED => {
                self.unserved.insert(labels.clone())
            }
            Service::Served | Service::Unserved => is_unserved,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    use super::Service::{Served, Unserved};
    use super::*;

    fn pair(bounded: &BoundedLabels<2>, number: usize, service: Service) -> [String; 2] {
        bounded.labels([&number.to_string(), "target"], service)
    }

    fn counted(number: usize) -> [String; 2] {
        [number.to_string(), "target".to_owned()]
    }

    fn other() -> [String; 2] {
        [OTHER, OTHER].map(str::to_owned)
    }

    #[test]
    fn combinations_beyond_the_limit_become_other() {
        let bounded = BoundedLabels::default();
        for number in 0..MAX_SERVED {
            assert_eq!(counted(number), pair(&bounded, number, Served));
        }
        assert_eq!(other(), pair(&bounded, MAX_SERVED, Served));
        assert_eq!(counted(7), pair(&bounded, 7, Unserved));
    }

    #[test]
    fn names_that_only_got_errors_leave_room_for_those_that_are_served() {
        let bounded = BoundedLabels::default();
        for number in 0..10 * MAX_SERVED {
            let expected = if number < MAX_UNSERVED { counted(number) } else { other() };
            assert_eq!(expected, pair(&bounded, number, Unserved));
        }
        // All of the room is left, also for what got errors before.
        for number in 1..=MAX_SERVED {
            assert_eq!(counted(number), pair(&bounded, number, Served));
        }
        assert_eq!(counted(0), pair(&bounded, 0, Served), "its series exist");
        assert_eq!(other(), pair(&bounded, MAX_SERVED + 1, Served));
    }

    #[test]
    fn overlong_value_becomes_other() {
        let bounded = BoundedLabels::default();
        let labels = |len| bounded.labels([&"m".repeat(len), "target"], Served);
        assert_eq!(MAX_VALUE_BYTES, labels(MAX_VALUE_BYTES)[0].len());
        assert_eq!([OTHER, "target"].map(str::to_owned), labels(MAX_VALUE_BYTES + 1));
    }

    proptest! {
        #[test]
        fn series_are_bounded_and_once_counted_always_counted(requests: Vec<(u16, u8, bool)>) {
            let bounded = BoundedLabels::<2>::default();
            let mut seen = BTreeSet::new();
            for (model, target, is_served) in requests.into_iter().cycle().take(5_000) {
                let values = [model.to_string(), target.to_string()];
                let service = if is_served { Served } else { Unserved };
                let labels = bounded.labels([&values[0], &values[1]], service);
                prop_assert!(labels == values || labels == other() && !seen.contains(&values));
                seen.insert(labels);
            }
            prop_assert!(seen.len() <= MAX_SERVED + MAX_UNSERVED + 1);
        }

        #[test]
        fn one_label_is_a_combination_too(value in any::<u32>()) {
            let bounded = BoundedLabels::<1>::default();
            prop_assert_eq!([value.to_string()], bounded.labels([&value.to_string()], Served));
        }
    }
}
