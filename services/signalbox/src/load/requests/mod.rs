//! The requests of a run: generated from a seed or read from a trace, to the base model or to adapters.

pub(super) mod adapters;
pub(super) mod body;
pub(super) mod prompts;
pub(super) mod trace;

use std::sync::Arc;

use signalbox_workload::Item;

use adapters::Adapters;
use body::RequestSpec;
use prompts::{Prompt, PromptGenerator};

/// Where requests come from.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// Generated from a seed.
    Generated { prompts: PromptGenerator, max_tokens: u32 },
    /// Read from a trace.
    Trace(Arc<[Item]>),
}

/// All requests of a run, by index.
#[derive(Clone, Debug)]
pub(super) struct Requests {
    pub(super) source: Source,
    /// Adapters to request. `None` requests the base model.
    pub(super) adapters: Option<Adapters>,
}

impl Requests {
    /// Returns the request with this index, or `None` after the end of a trace.
    pub(super) fn get(&self, index: u64) -> Option<RequestSpec> {
        let adapter = self.adapters.as_ref().map(|adapters| adapters.name(index));
        match &self.source {
            Source::Generated { prompts, max_tokens } => {
                Some(RequestSpec { prompt: prompts.prompt(index), max_tokens: *max_tokens, adapter })
            }
            Source::Trace(items) => {
                let item = items.get(usize::try_from(index).ok()?)?;
                let prompt = Prompt { shared: String::new(), question: item.prompt.text() };
                Some(RequestSpec { prompt, max_tokens: item.output_tokens, adapter })
            }
        }
    }
}
