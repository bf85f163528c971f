//! The scenes: who sends what.

use signalbox_flow::FlowSettings;

/// The tenants, each of which sends in all tiers.
pub(super) const TENANTS: usize = 8;

/// The priorities of the tiers, and the share of the offered tokens that each sends. So critical requests are at most 60 % of
/// capacity at a load of 200 %.
pub(super) const TIERS: [(i32, f64); 3] = [(10, 0.3), (0, 0.35), (-10, 0.35)];

/// The priority of the critical tier.
pub(super) const CRITICAL: i32 = 10;

/// The share of a scene with a greedy tenant that it sends in the tiers below the critical one.
const GREEDY_SHARE: f64 = 0.5;

/// Tokens of a prompt beyond the tenant's system prompt, and those of a long and of a short one.
const TOKENS: u32 = 1_500;
const LONG_TOKENS: u32 = 6_000;
const SHORT_TOKENS: u32 = 600;

/// How requests arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrivals {
    /// As a Poisson process.
    Steady,
    /// Those below the critical tier at 2.5 times the rate for one of four seconds, and at half of it in the others.
    Bursts,
}

/// Who sends what.
#[derive(Debug)]
pub(super) struct Scene {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) arrivals: Arrivals,
    /// Whether one tenant sends half of all below the critical tier, and each tenant reaches one replica only.
    is_greedy: bool,
    /// Whether half of the tenants send long prompts, the others short ones.
    has_lengths: bool,
    /// The weight of each tenant.
    pub(super) weights: [u32; TENANTS],
}

const EQUAL: [u32; TENANTS] = [1; TENANTS];

pub(super) const SCENES: [Scene; 5] = [
    Scene {
        name: "steady",
        about: "Poisson arrivals, equal tenants",
        arrivals: Arrivals::Steady,
        is_greedy: false,
        has_lengths: false,
        weights: EQUAL,
    },
    Scene {
        name: "bursts",
        about: "the tiers below the critical one send 2.5 times as much in one of four seconds",
        arrivals: Arrivals::Bursts,
        is_greedy: false,
        has_lengths: false,
        weights: EQUAL,
    },
    Scene {
        name: "greedy",
        about: "one tenant sends half of all below the critical tier; each tenant reaches one replica only",
        arrivals: Arrivals::Steady,
        is_greedy: true,
        has_lengths: false,
        weights: EQUAL,
    },
    Scene {
        name: "lengths",
        about: "half of the tenants send prompts of 6,000 tokens, the others of 600",
        arrivals: Arrivals::Steady,
        is_greedy: false,
        has_lengths: true,
        weights: EQUAL,
    },
    Scene {
        name: "weights",
        about: "tenants of weight 1 and of weight 3",
        arrivals: Arrivals::Steady,
        is_greedy: false,
        has_lengths: false,
        weights: [1, 1, 1, 1, 3, 3, 3, 3],
    },
];

impl Scene {
    /// Returns the share of the tokens of a tier that a tenant sends.
    pub(super) fn share(&self, priority: i32, tenant: usize) -> f64 {
        match (self.is_greedy && priority < CRITICAL, tenant) {
            (false, _) => 1.0 / TENANTS as f64,
            (true, 0) => GREEDY_SHARE,
            (true, _) => (1.0 - GREEDY_SHARE) / (TENANTS - 1) as f64,
        }
    }

    /// Returns the tokens of a prompt of a tenant beyond the system prompt.
    pub(super) fn tokens(&self, tenant: usize) -> u32 {
        match (self.has_lengths, tenant % 2) {
            (false, _) => TOKENS,
            (true, 0) => LONG_TOKENS,
            (true, _) => SHORT_TOKENS,
        }
    }

    /// Returns the replica that a tenant reaches, counted round over all; `None` for any.
    pub(super) fn entry(&self, tenant: usize) -> Option<usize> {
        self.is_greedy.then_some(tenant)
    }

    /// Returns the settings of flow control: the defaults, but for the weights, and that requests of the lowest tier wait as
    /// long as the others, as in the Go EPP.
    pub(super) fn settings(&self) -> FlowSettings {
        let weights = self.weights.iter().enumerate().map(|(tenant, weight)| (tenant_name(tenant), *weight));
        let defaults = FlowSettings::default();
        FlowSettings {
            weights: weights.collect(),
            sheddable_wait_ms: defaults.request_ttl_ms.unwrap_or(u64::MAX),
            ..defaults
        }
    }
}

/// How the fairness id of a tenant begins, before its number.
const TENANT: &str = "tenant-";

/// Returns the fairness id of a tenant.
pub(super) fn tenant_name(tenant: usize) -> String {
    format!("{TENANT}{tenant}")
}

/// Returns the tenant that has a fairness id.
pub(super) fn tenant_of(name: &str) -> Option<usize> {
    name.strip_prefix(TENANT)?.parse().ok().filter(|tenant| *tenant < TENANTS)
}
