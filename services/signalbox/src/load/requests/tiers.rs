//! Requests of three tiers and several tenants.

use http::{HeaderName, HeaderValue};

/// Header with the objective of a request, by which the pool knows its priority.
const OBJECTIVE: HeaderName = HeaderName::from_static("x-llm-d-inference-objective");

/// Header with the tenant of a request, whose requests share a flow.
const FAIRNESS_ID: HeaderName = HeaderName::from_static("x-llm-d-inference-fairness-id");

/// The tiers, the most important first: the name of the tier and of its objective.
const TIERS: [&str; 3] = ["critical", "standard", "sheddable"];

/// The tier of each of 20 requests: 30 % are critical, 35 % standard, 35 % sheddable, mixed as evenly as possible.
const PATTERN: [usize; 20] = [1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 1, 0, 2, 1, 0, 2, 1, 0, 2];

/// Requests of three tiers, each sent by all tenants in turn: every tenant sends equally many of a tier.
#[derive(Clone, Debug)]
pub(crate) struct Tiers {
    tenants: u64,
}

/// Whose request it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tag {
    /// Number of the tier, the most important first.
    pub(crate) tier: usize,
    /// Number of the tenant.
    pub(crate) tenant: usize,
}

impl Tiers {
    /// Creates tiers with so many tenants, at least 1.
    pub(crate) fn new(tenants: u64) -> Self {
        Self { tenants }
    }

    pub(crate) fn tenants(&self) -> u64 {
        self.tenants
    }

    /// Returns the names of the tiers, the most important first.
    pub(crate) fn names() -> impl Iterator<Item = &'static str> {
        TIERS.into_iter()
    }

    /// Returns whose request the one with this index is.
    pub(crate) fn tag(&self, index: u64) -> Tag {
        let (rounds, at) = (index / PATTERN.len() as u64, (index % PATTERN.len() as u64) as usize);
        let tier = PATTERN[at];
        let in_tier = |pattern: &[usize]| pattern.iter().filter(|of| **of == tier).count() as u64;
        let number = rounds * in_tier(&PATTERN) + in_tier(&PATTERN[..at]);
        Tag { tier, tenant: (number % self.tenants) as usize }
    }
}

impl Tag {
    /// Returns the headers that tell the pool the objective and the tenant.
    pub(crate) fn headers(self) -> [(HeaderName, HeaderValue); 2] {
        let tenant = format!("tenant-{}", self.tenant);
        let tenant = HeaderValue::from_str(&tenant).expect("a name and a number are valid in a header");
        [(OBJECTIVE, HeaderValue::from_static(TIERS[self.tier])), (FAIRNESS_ID, tenant)]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn tiers_have_their_shares_and_tenants_send_equally_many() {
        let tiers = Tiers::new(7);
        let mut counts = BTreeMap::new();
        for index in 0..20 * 7 {
            let Tag { tier, tenant } = tiers.tag(index);
            *counts.entry((tier, tenant)).or_insert(0) += 1;
        }
        let of_tier = |of: usize| {
            counts.iter().filter(|((tier, _), _)| *tier == of).map(|(_, count)| *count).collect::<Vec<_>>()
        };
        assert_eq!([vec![6; 7], vec![7; 7], vec![7; 7]], [of_tier(0), of_tier(1), of_tier(2)]);
    }

    #[test]
    fn headers_name_the_objective_and_the_tenant() {
        let headers = Tag { tier: 2, tenant: 3 }.headers();
        let text: Vec<_> =
            headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        assert_eq!(
            vec![("x-llm-d-inference-objective", "sheddable"), ("x-llm-d-inference-fairness-id", "tenant-3")],
            text
        );
    }
}
