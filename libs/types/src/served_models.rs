//! The models that endpoints are known to serve.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::ids::ModelKey;
use crate::token_ratio::TokenRatio;

/// The models that the endpoints of a pool are known to serve. They may serve others, too: metrics pages do not tell all
/// names.
#[derive(Clone, Debug, Default)]
pub struct ServedModels {
    /// The LoRA adapters that any endpoint is known to have had.
    pub adapters: Arc<BTreeSet<Arc<str>>>,
    /// The models of which a token ratio is known that differs from what is assumed: endpoints have reported usage for them.
    pub with_usage: Arc<BTreeMap<ModelKey, TokenRatio>>,
}

impl ServedModels {
    /// Returns whether `model` is one of them.
    pub fn contains(&self, model: &str) -> bool {
        self.adapters.contains(model) || self.with_usage.contains_key(&ModelKey::of(model))
    }
}
