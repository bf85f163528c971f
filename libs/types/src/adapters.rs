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
}
