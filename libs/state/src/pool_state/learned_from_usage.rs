//! The parts of the pool state that are learned from the usage which engines report.

use std::collections::BTreeMap;
use std::sync::Arc;

use signalbox_types::{EndpointKey, ModelKey, TokenRatio};

use super::cache_accuracy::CacheAccuracy;
use super::{Diverged, PoolState, digest};

impl PoolState {
    /// Returns the token ratio of each model of which one was learned.
    pub fn token_ratios(&self) -> &Arc<BTreeMap<ModelKey, TokenRatio>> {
        &self.token_ratios
    }

    /// Sets the token ratio of `model`; the default one removes it.
    pub(crate) fn set_token_ratio(&mut self, model: ModelKey, ratio: TokenRatio) {
        let ratios = Arc::make_mut(&mut self.token_ratios);
        let before = if ratio.is_default() { ratios.remove(&model) } else { ratios.insert(model, ratio) };
        let (before, of) = (before.unwrap_or_default(), digest::of_token_ratio);
        digest::replace_part(&mut self.digest.usage, of(model, before), of(model, ratio));
        let of = digest::of_output_tokens;
        digest::replace_part(&mut self.digest.outputs, of(model, before), of(model, ratio));
    }

    pub(super) fn set_cache_accuracy(
        &mut self,
        endpoint: EndpointKey,
        accuracy: CacheAccuracy,
    ) -> Result<(), Diverged> {
        let before = std::mem::replace(&mut self.endpoint_mut(endpoint)?.cache_accuracy, accuracy);
        let sum = |accuracy: &CacheAccuracy| digest::of_cache_accuracy(endpoint, accuracy);
        digest::replace_part(&mut self.digest.usage, sum(&before), sum(&accuracy));
        Ok(())
    }
}
