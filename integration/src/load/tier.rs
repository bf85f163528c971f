//! The tiers of requests to a pool that cannot serve all of them.

use std::fmt;

/// The objectives of the tiers, as documents of the endpoints file.
pub const TIER_OBJECTIVES: &str = "---
apiVersion: llm-d.ai/v1alpha2
kind: InferenceObjective
metadata: { name: critical }
spec: { poolRef: { name: llama3 }, priority: 10 }
---
apiVersion: llm-d.ai/v1alpha2
kind: InferenceObjective
metadata: { name: sheddable }
spec: { poolRef: { name: llama3 }, priority: -10 }
";

/// How important a request is. The name of a tier is that of its objective.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// It goes before all others.
    Critical,
    /// Its objective does not exist: it has the default priority.
    Standard,
    /// It is refused while the pool is full.
    Sheddable,
}

impl Tier {
    /// Returns the tier of a request: three of seven are critical, one is standard, and three are sheddable. So each tier has
    /// requests of each kind.
    pub(super) fn of(number: u64) -> Self {
        match number % 7 {
            0..3 => Self::Critical,
            3 => Self::Standard,
            _ => Self::Sheddable,
        }
    }

    /// Returns the name of its objective.
    pub(super) fn objective(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Standard => "standard",
            Self::Sheddable => "sheddable",
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.objective())
    }
}
