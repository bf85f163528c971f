//! Metric families that a user describes.

use std::borrow::Cow;

use signalbox_types::CustomEngine;

use super::Table;
use crate::metrics::family::{Family, Role};

/// Returns the table for pages of `engine`. The load gauges that it names are required.
pub(super) fn table(engine: &CustomEngine) -> Table<'_> {
    let cache = Role::CacheLabels { block: &engine.block_label, blocks: &engine.blocks_label };
    let families = [
        (&engine.waiting, Role::Waiting),
        (&engine.running, Role::Running),
        (&engine.kv_use, Role::KvUse),
        (&engine.adapters, Role::Adapters),
        (&engine.cache_info, cache),
        (&engine.block_tokens, Role::BlockTokens),
        (&engine.blocks, Role::Blocks),
    ];
    let described =
        families.into_iter().filter_map(|(spec, role)| Some(Family::described(spec.as_ref()?, role)));
    let started = Family::new("process_start_time_seconds", Role::Started);
    Table {
        families: Cow::Owned(described.chain([started]).collect()),
        prefixes: &[],
        required: &[Role::Waiting, Role::Running],
        is_lazy: false,
    }
}
