//! The requests of a run: generated from a seed or read from a trace, to the base model or to adapters.

pub(super) mod adapters;
pub(super) mod body;
pub(super) mod prompts;
pub(super) mod tiers;
pub(super) mod trace;

use std::sync::Arc;

use signalbox_workload::Item;

use adapters::Adapters;
use body::RequestSpec;
use prompts::PromptGenerator;
use tiers::{Tag, Tiers};

/// Where requests come from.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// Generated from a seed.
    Generated { prompts: PromptGenerator, max_tokens: u32 },
    /// Read from a trace.
    Trace(Arc<[Item]>),
}

/// All requests of a run, by index.
#[derive(Clone, Debug)]
pub(crate) struct Requests {
    pub(crate) source: Source,
    /// Adapters to request. `None` requests the base model.
    pub(crate) adapters: Option<Adapters>,
    /// Whose requests they are. `None` tells nothing.
    pub(crate) tiers: Option<Tiers>,
}

impl Requests {
    /// Returns the request with this index, or `None` after the end of a trace.
    pub(crate) fn get(&self, index: u64) -> Option<RequestSpec> {
        let adapter = self.adapters.as_ref().map(|adapters| adapters.name(index));
        let tag = self.tag(index);
        let (prompt, max_tokens) = match &self.source {
            Source::Generated { prompts, max_tokens } => {
                let prompt = match tag {
                    // The requests of a tenant share a prefix.
                    Some(Tag { tenant, .. }) => prompts.prompt_of_group(index, tenant as u64),
                    None => prompts.prompt(index),
                };
                (prompt, *max_tokens)
            }
            Source::Trace(items) => {
                let item = items.get(usize::try_from(index).ok()?)?;
                (item.prompt.clone(), item.output_tokens)
            }
        };
        Some(RequestSpec { prompt, max_tokens, adapter })
    }

    /// Returns whose request the one with this index is, if there are tiers.
    pub(crate) fn tag(&self, index: u64) -> Option<Tag> {
        self.tiers.as_ref().map(|tiers| tiers.tag(index))
    }
}
