//! How the flows of a band share.

/// How the flows of a band share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fairness {
    /// In proportion to their weights, in tokens: start-time fair queueing (Goyal, Vin and Cheng, 1996).
    #[default]
    Weighted,
    /// Not at all: the request that has waited the longest goes first (`global-strict-fairness-policy`).
    Strict,
    /// One request of each in turn (`round-robin-fairness-policy`).
    RoundRobin,
    /// The flow that got the least service lately goes first, unless others have waited longer
    /// (`program-aware-fairness` with the strategy `las`).
    ProgramAware,
}
