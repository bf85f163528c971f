//! Which model a request goes to that asks for another.

/// Rules by which models that clients ask for become models that are served.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelRewrite {
    /// Unique among the pool's rewrites.
    pub name: String,
    /// When it was made, in milliseconds since the Unix epoch, where that is known. Of two that match, the older one holds.
    pub created_ms: Option<u64>,
    /// Its rules; of two that match, the first holds.
    pub rules: Vec<RewriteRule>,
}

/// One rule: for which models it is, and what they become.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RewriteRule {
    /// The models that it is for, by their exact names; for every model when there is none.
    pub models: Vec<String>,
    /// What they become: one of these.
    pub targets: Vec<RewriteTarget>,
}

impl RewriteRule {
    /// The target at `point`, a number anywhere in the range of its type: the targets share that range by their weights, in order. `None`
    /// when there is nothing to choose from.
    ///
    /// Where some have weights, those without are never chosen; where none has, all are alike.
    pub(crate) fn target_at(&self, point: u64) -> Option<&RewriteTarget> {
        let is_weighted = self.targets.iter().any(|target| target.weight.is_some());
        let weight = |target: &RewriteTarget| match target.weight {
            Some(weight) => u64::from(weight),
            None => u64::from(!is_weighted),
        };
        let total: u64 = self.targets.iter().map(weight).sum();
        // Scaled rather than taken modulo, so that a weight that grows takes requests from its neighbours only.
        let mut left = ((u128::from(point) * u128::from(total)) >> u64::BITS) as u64;
        self.targets.iter().find(|target| match left.checked_sub(weight(target)) {
            Some(less) => {
                left = less;
                false
            }
            None => true,
        })
    }
}

/// A model that requests may go to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RewriteTarget {
    /// Its name, as the endpoints know it.
    pub model: String,
    /// Its share of the requests among the weights of all targets of the rule, 1 to [`RewriteTarget::WEIGHT_MAX`].
    pub weight: Option<u32>,
}

impl RewriteTarget {
    /// The greatest weight.
    pub const WEIGHT_MAX: u32 = 1_000_000;
}
