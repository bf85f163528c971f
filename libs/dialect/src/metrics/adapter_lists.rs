//! The LoRA adapters on a page: those with requests, and those that are loaded.

use std::collections::BTreeSet;
use std::sync::Arc;

use signalbox_types::{Adapters, LoadedAdapters};

use super::text_format::{Labels, Series};

/// The series about LoRA adapters found so far.
#[derive(Debug, Default)]
pub(super) struct AdapterLists<'a> {
    /// Time of the last change, and the labels of that series.
    active: Option<(f64, Labels<'a>)>,
    reports_loaded: bool,
    device: BTreeSet<Arc<str>>,
    host: BTreeSet<Arc<str>>,
    slots: Option<f64>,
}

impl<'a> AdapterLists<'a> {
    /// Keeps the latest adapters with requests. The server leaves a series behind for every set of adapters
    /// that it had.
    pub(super) fn add_active(&mut self, series: Series<'a>) {
        let newest = self.active.is_none_or(|(latest, _)| series.value >= latest);
        if newest && series.labels.number("max_lora").is_some() {
            self.active = Some((series.value, series.labels));
        }
    }

    /// Adds a loaded adapter. Each rank has a series; an adapter on the device has one more for the copy in
    /// host memory.
    pub(super) fn add_loaded(&mut self, series: Series<'a>) {
        self.reports_loaded = true;
        let Some(name) = series.labels.get("adapter_name").filter(|name| !name.is_empty()) else { return };
        let place = match series.labels.get("level").as_deref() {
            Some("gpu") => &mut self.device,
            Some("cpu") => &mut self.host,
            _ => return,
        };
        if series.value > 0.0 && place.len() < Adapters::MAX_NAMES {
            place.insert(Arc::from(name));
        }
    }

    /// Notes that the page reports loaded adapters, even if it names none.
    pub(super) fn note_loaded(&mut self) {
        self.reports_loaded = true;
    }

    /// Adds the number of adapters that fit on the device.
    pub(super) fn add_slots(&mut self, slots: f64) {
        self.slots = Some(self.slots.map_or(slots, |before| before.max(slots)));
    }

    /// Returns the adapters if the page reports the number of slots.
    pub(super) fn build(self) -> Option<Adapters> {
        let labels = self.active.map(|(_, labels)| labels);
        let labeled_slots = labels.and_then(|labels| labels.number("max_lora"));
        let slots = match (labeled_slots, self.slots) {
            (Some(slots), _) => u32::try_from(slots).unwrap_or(u32::MAX),
            (None, slots) => slots?.round() as u32,
        };
        let list = |label| {
            let names = labels.and_then(|labels| labels.get(label));
            names.map(|names| parse_names(&names)).unwrap_or_default()
        };
        let loaded = self.reports_loaded.then(|| LoadedAdapters {
            host: self.host.difference(&self.device).cloned().collect(),
            device: self.device.into_iter().collect(),
        });
        let (running, waiting) = (list("running_lora_adapters"), list("waiting_lora_adapters"));
        Some(Adapters { slots, running, waiting, loaded }.limited())
    }
}

fn parse_names(list: &str) -> Vec<Arc<str>> {
    let mut names: Vec<Arc<str>> =
        list.split(',').map(str::trim).filter(|n| !n.is_empty()).map(Arc::from).collect();
    names.sort_unstable();
    names.dedup();
    names
}
