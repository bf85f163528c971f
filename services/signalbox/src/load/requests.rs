//! Which requests a run sends: made from a seed or recorded, to the model or to adapters.

use std::sync::Arc;

use signalbox_workload::Item;

use super::adapters::Adapters;
use super::asking::Ask;
use super::workload::{Prompt, Workload};

/// Where requests come from.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// Made from a seed.
    Made { workload: Workload, max_tokens: u32 },
    /// Recorded.
    Recorded(Arc<[Item]>),
}

/// All requests of a run, by their number.
#[derive(Clone, Debug)]
pub(super) struct Requests {
    pub(super) source: Source,
    /// None if the model itself is asked.
    pub(super) adapters: Option<Adapters>,
}

impl Requests {
    /// Request number `index`; none behind the end of a recording.
    pub(super) fn ask(&self, index: u64) -> Option<Ask> {
        let adapter = self.adapters.as_ref().map(|adapters| adapters.name(index));
        match &self.source {
            Source::Made { workload, max_tokens } => {
                Some(Ask { prompt: workload.prompt(index), max_tokens: *max_tokens, adapter })
            }
            Source::Recorded(items) => {
                let item = items.get(usize::try_from(index).ok()?)?;
                let prompt = Prompt { shared: String::new(), question: item.prompt.text() };
                Some(Ask { prompt, max_tokens: item.output_tokens, adapter })
            }
        }
    }
}
