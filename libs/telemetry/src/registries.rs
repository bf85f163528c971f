//! The metric registries of a process: its own, and one for each thing that comes and goes, such as a pool.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

use crate::exposition::Exposition;

/// The value of a label; `None` while it is unknown.
type LabelValue = Box<dyn Fn() -> Option<String> + Send + Sync>;

/// The registries of a process. All are exported on one page. Clones share them.
#[derive(Clone, Debug)]
pub struct Registries(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    own: Arc<Registry>,
    labelled: Mutex<Labelled>,
}

#[derive(Debug, Default)]
struct Labelled {
    registries: BTreeMap<u64, Arc<LabelledRegistry>>,
    next: u64,
}

/// A registry whose samples all carry one more label.
struct LabelledRegistry {
    label: &'static str,
    value: LabelValue,
    registry: Registry,
}

/// Keeps a registry on the page until it is dropped.
#[derive(Debug)]
pub struct RegistryEntry {
    registries: Registries,
    number: u64,
}

impl Registries {
    /// Returns the registries of a process that has only its own so far.
    pub fn new(own: Registry) -> Self {
        Self::from(Arc::new(own))
    }

    /// Adds a registry, until the returned entry is dropped. All its samples get the label `label` with what
    /// `value` returns when they are read; none while that is `None`. Its metrics may have the names of
    /// metrics in other registries.
    pub fn add(
        &self,
        label: &'static str,
        value: impl Fn() -> Option<String> + Send + Sync + 'static,
        registry: Registry,
    ) -> RegistryEntry {
        let added = Arc::new(LabelledRegistry { label, value: Box::new(value), registry });
        let mut labelled = self.labelled();
        labelled.next += 1;
        let number = labelled.next;
        labelled.registries.insert(number, added);
        drop(labelled);
        RegistryEntry { registries: self.clone(), number }
    }

    /// Returns all metrics in the OpenMetrics text format.
    ///
    /// # Errors
    /// A metric cannot be encoded.
    pub fn page(&self) -> Result<String, fmt::Error> {
        let labelled: Vec<_> = self.labelled().registries.values().cloned().collect();
        let mut text = String::new();
        encode(&mut text, &self.0.own)?;
        if labelled.is_empty() {
            return Ok(text);
        }
        let mut exposition = Exposition::default();
        exposition.add(&text, None);
        for (labelled, value) in latest_of_each_value(labelled) {
            text.clear();
            encode(&mut text, &labelled.registry)?;
            exposition.add(&text, value.as_deref().map(|value| (labelled.label, value)));
        }
        Ok(exposition.into_text())
    }

    fn labelled(&self) -> MutexGuard<'_, Labelled> {
        self.0.labelled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the registries with the values of their labels. Of several with the same value, the latest is returned: the
/// others are about something that was replaced, and a page must not show a series twice.
fn latest_of_each_value(all: Vec<Arc<LabelledRegistry>>) -> Vec<(Arc<LabelledRegistry>, Option<String>)> {
    let mut seen = BTreeSet::new();
    let mut latest: Vec<_> = all.into_iter().rev().map(|each| ((each.value)(), each)).collect();
    latest
        .retain(|(value, each)| value.as_ref().is_none_or(|value| seen.insert((each.label, value.clone()))));
    latest.into_iter().rev().map(|(value, each)| (each, value)).collect()
}

impl From<Arc<Registry>> for Registries {
    fn from(own: Arc<Registry>) -> Self {
        Self(Arc::new(Shared { own, labelled: Mutex::default() }))
    }
}

impl Drop for RegistryEntry {
    fn drop(&mut self) {
        self.registries.labelled().registries.remove(&self.number);
    }
}

impl fmt::Debug for LabelledRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LabelledRegistry").field("label", &self.label).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;

    use super::*;

    fn registry(count: u64) -> Registry {
        let (mut registry, counter) = (Registry::default(), Counter::<u64>::default());
        counter.inc_by(count);
        registry.register("requests", "Requests", counter);
        registry
    }

    #[test]
    fn registries_share_families_and_vanish_with_their_entries() {
        let registries = Registries::new(registry(1));
        let alone = registries.page().unwrap();
        let first = registries.add("pool", || Some("a/first".to_owned()), registry(2));
        let unnamed = registries.add("pool", || None, registry(3));
        let head = "# HELP requests Requests.\n# TYPE requests counter\n";
        let all = "requests_total 1\nrequests_total{pool=\"a/first\"} 2\nrequests_total 3\n# EOF\n";
        assert_eq!(format!("{head}{all}"), registries.page().unwrap());
        drop(first);
        assert_eq!(format!("{head}requests_total 1\nrequests_total 3\n# EOF\n"), registries.page().unwrap());
        drop(unnamed);
        assert_eq!(alone, registries.page().unwrap());
    }

    #[test]
    fn the_latest_of_two_registries_with_one_label_is_shown() {
        let registries = Registries::new(Registry::default());
        let earlier = registries.add("pool", || Some("a/p".to_owned()), registry(7));
        let later = registries.add("pool", || Some("a/p".to_owned()), registry(1));
        let series = || {
            registries
                .page()
                .unwrap()
                .lines()
                .filter(|line| line.contains("a/p"))
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(vec!["requests_total{pool=\"a/p\"} 1"], series());
        drop(later);
        assert_eq!(vec!["requests_total{pool=\"a/p\"} 7"], series());
        drop(earlier);
    }
}
