//! What must hold, by name. `docs/INVARIANTS.md` says what each of them means.

use std::fmt;

/// What must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invariant {
    /// Two aggregators never mint changes under one epoch.
    OneWriter,
    /// All that hold one version hold one state.
    OneState,
    /// What a process holds never goes back to an earlier version.
    VersionsGrow,
    /// The highest epoch that a process knows never falls.
    EpochsGrow,
    /// A follower is behind, never wrong.
    NothingDiverges,
    /// An owner's clock goes on where the one before it stopped.
    ClockGoesOn,
    /// An acknowledged number never falls while an origin lives.
    AcknowledgementsGrow,
    /// A placement that is acknowledged is in the state.
    AcknowledgedIsFolded,
    /// An owner takes nothing of an origin that it has given up.
    ExpiredStaysExpired,
    /// A generation names one assignment.
    GenerationsAreUnique,
    /// No gauge falls below zero.
    LoadsAreSane,
    /// A replica that was given up once takes one new origin.
    OneRebirth,
    /// In quiet times one owner is left.
    DeposedStepsDown,
    /// In quiet times there is an owner.
    PoolIsOwned,
    /// After quiet all hold what the owner holds.
    AllAlike,
    /// After quiet each endpoint is read by one collector, under the generation in force.
    OneReader,
    /// After quiet the pool's loads are the replicas' own gauges.
    LoadsAreGauges,
    /// After all requests nothing is booked.
    NothingIsBooked,
    /// After quiet no replica waits for an echo.
    OverlaysAreEmpty,
    /// A standby takes over within three seconds after the lease of the owner before has ended.
    FailoverIsFast,
    /// A change of owner among warm standbys costs nobody a snapshot.
    TurnSuffices,
    /// An owner that drains leaves all that it has minted.
    DrainLosesNothing,
}

impl Invariant {
    /// All of them.
    pub const ALL: [Self; 22] = [
        Self::OneWriter,
        Self::OneState,
        Self::VersionsGrow,
        Self::EpochsGrow,
        Self::NothingDiverges,
        Self::ClockGoesOn,
        Self::AcknowledgementsGrow,
        Self::AcknowledgedIsFolded,
        Self::ExpiredStaysExpired,
        Self::GenerationsAreUnique,
        Self::LoadsAreSane,
        Self::OneRebirth,
        Self::DeposedStepsDown,
        Self::PoolIsOwned,
        Self::AllAlike,
        Self::OneReader,
        Self::LoadsAreGauges,
        Self::NothingIsBooked,
        Self::OverlaysAreEmpty,
        Self::FailoverIsFast,
        Self::TurnSuffices,
        Self::DrainLosesNothing,
    ];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OneWriter => "one-writer",
            Self::OneState => "one-state",
            Self::VersionsGrow => "versions-grow",
            Self::EpochsGrow => "epochs-grow",
            Self::NothingDiverges => "nothing-diverges",
            Self::ClockGoesOn => "clock-goes-on",
            Self::AcknowledgementsGrow => "acknowledgements-grow",
            Self::AcknowledgedIsFolded => "acknowledged-is-folded",
            Self::ExpiredStaysExpired => "expired-stays-expired",
            Self::GenerationsAreUnique => "generations-are-unique",
            Self::LoadsAreSane => "loads-are-sane",
            Self::OneRebirth => "one-rebirth",
            Self::DeposedStepsDown => "deposed-steps-down",
            Self::PoolIsOwned => "pool-is-owned",
            Self::AllAlike => "all-alike",
            Self::OneReader => "one-reader",
            Self::LoadsAreGauges => "loads-are-gauges",
            Self::NothingIsBooked => "nothing-is-booked",
            Self::OverlaysAreEmpty => "overlays-are-empty",
            Self::FailoverIsFast => "failover-is-fast",
            Self::TurnSuffices => "turn-suffices",
            Self::DrainLosesNothing => "drain-loses-nothing",
        }
    }
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An invariant that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub invariant: Invariant,
    /// What was seen instead.
    pub seen: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.seen)
    }
}
