//! A pool's model rules: request priorities and model rewrites.

use std::collections::BTreeMap;

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::objective::Objective;
use crate::rewrite::{ModelRewrite, RewriteRule};

/// A pool's objectives and model rewrites, indexed for lookup. Immutable: a lookup is one map access and does
/// not allocate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Models {
    /// Objectives in order of their names.
    objectives: Vec<Objective>,
    /// Rewrites in order of precedence.
    rewrites: Vec<ModelRewrite>,
    /// The rule that applies to each model that a rule names.
    exact: BTreeMap<String, RuleAt>,
    /// The rule that applies to all other models.
    fallback: Option<RuleAt>,
}

/// The position of a rule: the index of its rewrite, and its index in that rewrite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct RuleAt {
    rewrite: usize,
    rule: usize,
}

impl Models {
    /// Indexes `objectives` and `rewrites`. Older rewrites take precedence over newer ones, then those of
    /// unknown age; among equals the earlier in the list.
    pub fn new(mut objectives: Vec<Objective>, mut rewrites: Vec<ModelRewrite>) -> Self {
        objectives.sort_by(|one, other| one.name.cmp(&other.name));
        rewrites.sort_by_key(|rewrite| rewrite.created_ms.unwrap_or(u64::MAX));
        let mut models = Self { objectives, rewrites, ..Self::default() };
        for (rewrite, ModelRewrite { rules, .. }) in models.rewrites.iter().enumerate() {
            for (rule, RewriteRule { models: named, .. }) in rules.iter().enumerate() {
                let at = RuleAt { rewrite, rule };
                if named.is_empty() {
                    models.fallback.get_or_insert(at);
                }
                for model in named {
                    models.exact.entry(model.clone()).or_insert(at);
                }
            }
        }
        models
    }

    /// Returns the objectives in order of their names.
    pub fn objectives(&self) -> &[Objective] {
        &self.objectives
    }

    /// Returns the rewrites in order of precedence.
    pub fn rewrites(&self) -> &[ModelRewrite] {
        &self.rewrites
    }

    /// Returns whether any rule names the models that it applies to.
    pub fn has_named_sources(&self) -> bool {
        !self.exact.is_empty()
    }

    /// Returns the rule that names `model` and replaces it. `None` if a rule replaces some model by it: then the endpoints
    /// have it.
    pub fn rule_of_source(&self, model: &str) -> Option<&RewriteRule> {
        let at = self.exact.get(model)?;
        let mut targets =
            self.rewrites.iter().flat_map(|rewrite| &rewrite.rules).flat_map(|rule| &rule.targets);
        let is_target = targets.any(|target| target.model == model);
        (!is_target).then(|| &self.rewrites[at.rewrite].rules[at.rule])
    }

    /// Returns whether there are neither objectives nor rewrites.
    pub fn is_empty(&self) -> bool {
        self.objectives.is_empty() && self.rewrites.is_empty()
    }

    /// Returns the priority of a request with `objective`; 0 without an objective and for an unknown one.
    pub fn priority(&self, objective: Option<&str>) -> i32 {
        let find =
            |name: &str| self.objectives.binary_search_by(|objective| (*objective.name).cmp(name)).ok();
        objective.and_then(find).map_or(0, |at| self.objectives[at].priority)
    }

    /// Returns the model that replaces `incoming`; `None` if no rule applies and the request keeps its model.
    ///
    /// A rule that names the model takes precedence over one for every model; then the oldest rewrite does,
    /// then its first rule. All requests of one `session` for one model get the same target, at every
    /// replica. Requests without a session get the target at `random`, a number drawn from the whole `u64`
    /// range.
    pub fn target<'a>(&'a self, incoming: &str, session: Option<&str>, random: u64) -> Option<&'a str> {
        let at = self.exact.get(incoming).copied().or(self.fallback)?;
        let rule = &self.rewrites[at.rewrite].rules[at.rule];
        let point = match session.filter(|session| !session.is_empty()) {
            Some(session) => xxh3_64_with_seed(session.as_bytes(), xxh3_64(incoming.as_bytes())),
            None => random,
        };
        rule.target_at(point).map(|target| target.model.as_str())
    }
}

#[cfg(test)]
mod tests;
