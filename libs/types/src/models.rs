//! What a pool says of models: how much requests matter, and which model they go to.

use std::collections::BTreeMap;

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::objective::Objective;
use crate::rewrite::{ModelRewrite, RewriteRule};

/// What a pool says of models. Made once and then only read: each question is one look into a map, and takes no memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Models {
    /// In order of their names.
    objectives: Vec<Objective>,
    /// Those that hold before others first.
    rewrites: Vec<ModelRewrite>,
    /// For each model that rules name, the one that holds.
    exact: BTreeMap<String, RuleAt>,
    /// The rule that holds for all other models.
    generic: Option<RuleAt>,
}

/// A rule by the places of its rewrite and of itself in that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct RuleAt {
    rewrite: usize,
    rule: usize,
}

impl Models {
    /// These `objectives`, and these `rewrites`: older ones hold before younger ones, those of unknown age last, and otherwise the earlier
    /// in the list.
    pub fn new(mut objectives: Vec<Objective>, mut rewrites: Vec<ModelRewrite>) -> Self {
        objectives.sort_by(|one, other| one.name.cmp(&other.name));
        rewrites.sort_by_key(|rewrite| rewrite.created_ms.unwrap_or(u64::MAX));
        let mut models = Self { objectives, rewrites, ..Self::default() };
        for (rewrite, ModelRewrite { rules, .. }) in models.rewrites.iter().enumerate() {
            for (rule, RewriteRule { models: named, .. }) in rules.iter().enumerate() {
                let at = RuleAt { rewrite, rule };
                if named.is_empty() {
                    models.generic.get_or_insert(at);
                }
                for model in named {
                    models.exact.entry(model.clone()).or_insert(at);
                }
            }
        }
        models
    }

    /// The objectives, in order of their names.
    pub fn objectives(&self) -> &[Objective] {
        &self.objectives
    }

    /// The rewrites, those that hold before others first.
    pub fn rewrites(&self) -> &[ModelRewrite] {
        &self.rewrites
    }

    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        self.objectives.is_empty() && self.rewrites.is_empty()
    }

    /// The priority of a request that names `objective`; 0 without one, and for one that is not known.
    pub fn priority(&self, objective: Option<&str>) -> i32 {
        let find =
            |name: &str| self.objectives.binary_search_by(|objective| (*objective.name).cmp(name)).ok();
        objective.and_then(find).map_or(0, |at| self.objectives[at].priority)
    }

    /// The model that a request for `incoming` goes to; `None` when no rule is for it, and it goes to that which it asks for.
    ///
    /// A rule that names the model holds before one for every model; among several the one of the oldest rewrite, and the first there.
    /// Among its targets a request with a `session` goes where all of that session's requests for this model go, whichever replica is
    /// asked; any other goes where `dice` falls, a random number in the whole range of its type.
    pub fn target<'a>(&'a self, incoming: &str, session: Option<&str>, dice: u64) -> Option<&'a str> {
        let at = self.exact.get(incoming).copied().or(self.generic)?;
        let rule = &self.rewrites[at.rewrite].rules[at.rule];
        let point = match session.filter(|session| !session.is_empty()) {
            Some(session) => xxh3_64_with_seed(session.as_bytes(), xxh3_64(incoming.as_bytes())),
            None => dice,
        };
        rule.target_at(point).map(|target| target.model.as_str())
    }
}

#[cfg(test)]
mod tests;
