//! Model rewrites: rules that send requests for one model to another.

/// Rules that map the models that clients request to the models that are served.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelRewrite {
    /// Name, unique among the pool's rewrites.
    pub name: String,
    /// Creation time in milliseconds since the Unix epoch; `None` if unknown. When several rewrites match,
    /// the oldest one applies.
    pub created_ms: Option<u64>,
    /// Rules in order; the first one that matches applies.
    pub rules: Vec<RewriteRule>,
}

/// One rule: the models that it applies to, and the targets that replace them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RewriteRule {
    /// Exact names of the models that the rule applies to; an empty list applies to every model.
    pub models: Vec<String>,
    /// Possible replacements, of which one is chosen for each request.
    pub targets: Vec<RewriteTarget>,
}

impl RewriteRule {
    /// Returns the target at `point`. The targets divide the whole `u64` range in order, in proportion to
    /// their weights. Returns `None` if no target can be chosen.
    ///
    /// If some targets have weights, those without are never chosen. If none has, all share equally.
    pub(crate) fn target_at(&self, point: u64) -> Option<&RewriteTarget> {
        let total: u64 = self.weighted_targets().map(|(_, weight)| weight).sum();
        // Scaling instead of a modulo: a growing weight takes requests from its neighbors only.
        let mut remaining = ((u128::from(point) * u128::from(total)) >> u64::BITS) as u64;
        let mut chosen =
            self.weighted_targets().skip_while(|(_, weight)| match remaining.checked_sub(*weight) {
                Some(rest) => {
                    remaining = rest;
                    true
                }
                None => false,
            });
        chosen.next().map(|(target, _)| target)
    }

    /// Returns the targets that can be chosen.
    pub fn possible_targets(&self) -> impl Iterator<Item = &RewriteTarget> {
        self.weighted_targets().filter(|(_, weight)| *weight > 0).map(|(target, _)| target)
    }

    /// Returns each target with its share of the requests, relative to those of the others.
    fn weighted_targets(&self) -> impl Iterator<Item = (&RewriteTarget, u64)> {
        let is_weighted = self.targets.iter().any(|target| target.weight.is_some());
        self.targets
            .iter()
            .map(move |target| (target, target.weight.map_or(u64::from(!is_weighted), u64::from)))
    }
}

/// A model that replaces the requested one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RewriteTarget {
    /// Model name as the endpoints know it.
    pub model: String,
    /// Share of requests relative to the weights of the rule's other targets, 1 to
    /// [`RewriteTarget::WEIGHT_MAX`].
    pub weight: Option<u32>,
}

impl RewriteTarget {
    /// Greatest allowed weight.
    pub const WEIGHT_MAX: u32 = 1_000_000;
}
