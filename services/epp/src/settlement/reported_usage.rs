//! Compares the usage that an engine reports with what was predicted for the prompt.

use std::sync::Arc;

use signalbox_state::{PlacedPrompt, UsageReport};
use signalbox_types::BlockHash;

use crate::bookings::booked_prompt::BookedPrompt;
use crate::deciding::picker::Picker;

/// The number of blocks by which an engine must hold more than was believed before the belief is checked.
const TOLERANCE_BLOCKS: u32 = 4;

impl BookedPrompt {
    /// Compares the tokens that the engine reported with the prediction, and completes the report: finds the blocks
    /// that the cached tokens cover, and sets them to zero where the engine leaves zeros out. Places the prompt
    /// again if the engine holds blocks that the pool does not know of.
    pub(crate) fn compare(&self, picker: &Picker, report: &mut UsageReport) {
        let at = (report.endpoint, report.incarnation, self.api);
        report.cached_tokens =
            picker.caching_reports.cached_tokens(at, report.prompt_tokens, report.cached_tokens);
        // Another endpoint served the request than the one that the prediction was made for, or there are no blocks.
        if report.last_block == BlockHash::ROOT {
            return;
        }
        if let (Some(cached_tokens), Some(prompt_tokens)) = (report.cached_tokens, report.prompt_tokens) {
            picker.metrics.observe_cached_tokens(report.predicted_cached_tokens, cached_tokens);
            let blocks = (self.chain.len(), self.block_bytes);
            let cached_blocks =
                self.weight.blocks_of_tokens(cached_tokens, prompt_tokens, blocks.0, blocks.1);
            report.cached_blocks = Some(cached_blocks as u32);
        }
        let expected = report.held_blocks.saturating_add(TOLERANCE_BLOCKS);
        if !self.is_placed || report.cached_blocks.is_some_and(|cached| cached > expected) {
            self.place_again(picker, report);
        }
    }

    /// Places the prompt if the pool does not know that the endpoint holds all of it.
    fn place_again(&self, picker: &Picker, report: &UsageReport) {
        let snapshot = picker.snapshot.load();
        let view = &snapshot.view;
        if view.position(report.endpoint).is_none() || !view.format.is_supported() {
            return;
        }
        let (held, known) = view.look_up_at(report.endpoint, &self.chain, &picker.overlay);
        if held < self.chain.len() {
            let UsageReport { endpoint, incarnation, .. } = *report;
            picker.place(PlacedPrompt { endpoint, incarnation, chain: Arc::clone(&self.chain), known, held });
            picker.bookings.announce();
        }
    }
}

#[cfg(test)]
mod tests;
