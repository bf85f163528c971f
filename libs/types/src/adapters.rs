//! The LoRA adapters that a model server reports.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The LoRA adapters that a model server reports.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adapters {
    /// Number of adapters that can be resident at once.
    pub slots: u32,
    /// Adapters with a running request, sorted.
    pub running: Vec<Arc<str>>,
    /// Adapters that a waiting request asks for, sorted. vLLM lists an adapter in both lists.
    pub waiting: Vec<Arc<str>>,
    /// Adapters that are loaded, with requests or without; `None` if the server does not report them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loaded: Option<LoadedAdapters>,
}

impl Adapters {
    /// The maximum number of slots. No engine has batches of so many adapters.
    pub const MAX_SLOTS: u32 = 1_024;

    /// The maximum number of names in each list. With [`Adapters::MAX_NAME_BYTES`] it keeps everything about the
    /// adapters of an endpoint well below the size limit of a message, 1 MiB.
    pub const MAX_NAMES: usize = 1_024;

    /// The maximum length of a name.
    pub const MAX_NAME_BYTES: usize = 128;

    /// Limits the slots, drops names that are too long, and keeps the first [`Adapters::MAX_NAMES`] of each list: what
    /// a server reports beyond that is a mistake, and must not cost the rest of the pool.
    #[must_use]
    pub fn limited(mut self) -> Self {
        self.slots = self.slots.min(Self::MAX_SLOTS);
        for list in self.lists_mut() {
            list.retain(|name| name.len() <= Self::MAX_NAME_BYTES);
            list.truncate(Self::MAX_NAMES);
        }
        self
    }

    /// Returns whether the slots and lists are within the limits, and the lists are sorted.
    pub fn is_valid(&self) -> bool {
        let loaded = self.loaded.iter().flat_map(|loaded| [&loaded.device, &loaded.host]);
        let mut lists = [&self.running, &self.waiting].into_iter().chain(loaded);
        self.slots <= Self::MAX_SLOTS && lists.all(|list| is_valid_list(list, Self::MAX_NAMES))
    }

    fn lists_mut(&mut self) -> impl Iterator<Item = &mut Vec<Arc<str>>> {
        let loaded = self.loaded.iter_mut().flat_map(|loaded| [&mut loaded.device, &mut loaded.host]);
        [&mut self.running, &mut self.waiting].into_iter().chain(loaded)
    }

    /// Returns the number of adapters with requests. One that stands in both lists counts once.
    pub fn active_count(&self) -> usize {
        let only_waiting = self.waiting.iter().filter(|name| self.running.binary_search(name).is_err());
        self.running.len() + only_waiting.count()
    }
}

/// The LoRA adapters that a model server has loaded. No adapter is in both lists.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadedAdapters {
    /// Adapters on the device, sorted.
    pub device: Vec<Arc<str>>,
    /// Adapters in host memory only, sorted.
    pub host: Vec<Arc<str>>,
}

/// Returns whether a list of adapters has at most `max_names` names, none of them too long, and is sorted.
pub fn is_valid_list(names: &[Arc<str>], max_names: usize) -> bool {
    let is_short = |name: &Arc<str>| name.len() <= Adapters::MAX_NAME_BYTES;
    names.len() <= max_names
        && names.iter().all(is_short)
        && names.is_sorted_by(|before, after| before < after)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<Arc<str>> {
        text.split_whitespace().map(Arc::from).collect()
    }

    #[test]
    fn an_adapter_in_both_lists_counts_once() {
        let count = |running, waiting| {
            Adapters { slots: 3, running: names(running), waiting: names(waiting), loaded: None }
                .active_count()
        };
        assert_eq!([2, 3, 2, 0], [count("x y", "x y"), count("x y", "w x"), count("", "x y"), count("", "")]);
    }

    #[test]
    fn what_a_server_reports_is_limited() {
        let many: Vec<Arc<str>> = (0..20_000).map(|number| format!("adapter-{number:05}").into()).collect();
        let long = vec![Arc::from("x".repeat(Adapters::MAX_NAME_BYTES + 1))];
        let loaded = Some(LoadedAdapters { device: many.clone(), host: long });
        let reported = Adapters { slots: u32::MAX, running: many, waiting: names("a b"), loaded };
        assert!(!reported.is_valid());
        let limited = reported.limited();
        assert!(limited.is_valid());
        assert_eq!(names("a b"), limited.waiting);
        let loaded = limited.loaded.unwrap();
        assert_eq!((Adapters::MAX_NAMES, 0), (loaded.device.len(), loaded.host.len()));
        assert!(!Adapters { running: names("b a"), ..Adapters::default() }.is_valid());
    }
}
