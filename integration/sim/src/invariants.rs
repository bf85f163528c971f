//! Names the invariants. `docs/INVARIANTS.md` describes them.

use std::fmt;

/// A property that every run must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invariant {
    /// Two aggregators never create changes under the same epoch.
    OneWriter,
    /// All processes at one version have the same state.
    OneState,
    /// The version of a process never decreases.
    VersionsGrow,
    /// The highest epoch that a process knows never decreases.
    EpochsGrow,
    /// No process believes an epoch that cannot be genuine.
    EpochsAreGenuine,
    /// A follower may be behind, but is never wrong.
    NoDivergence,
    /// An owner's clock continues where the previous owner's clock stopped.
    ClockContinues,
    /// A new owner asks for no fewer replicas than an earlier one has stored.
    SignalDoesNotDip,
    /// The acknowledged number of a live origin never decreases.
    AcknowledgementsGrow,
    /// An acknowledged placement is in the state.
    AcknowledgedIsApplied,
    /// An owner accepts nothing from an origin that it expired.
    ExpiredOriginsStayExpired,
    /// A generation identifies one assignment.
    GenerationsAreUnique,
    /// No gauge falls below zero.
    GaugesAreNotNegative,
    /// A replica whose origin expired takes one new origin.
    OneOriginRenewal,
    /// A replica that sees an endpoint drain books no new request there.
    DrainingGetsNoRequests,
    /// An owner keeps a draining endpoint, with its bookings, until it is told that the endpoint is gone.
    DrainingKeepsBookings,
    /// An owner that knows of a later one claims the pool again, or steps down after the lease TTL.
    OutrankedStepsDown,
    /// An owner accepts feedback of an origin from its replica only, and from its replica always.
    OriginsAreBound,
    /// An endpoint whose circuit is half-open gets one probe at a time from all replicas.
    OneProbeAtATime,
    /// A follower that needs a snapshot gets it, even if others take none of what they are sent.
    SnapshotsAreServed,
    /// A follower that needs snapshots again and again gets them at growing intervals.
    SnapshotsAreSpaced,
    /// A snapshot is the owner's state at its version, whatever changed while it was captured.
    SnapshotsAreExact,
    /// A follower that waits for its changes gets heartbeats meanwhile.
    HeartbeatsGoOn,
    /// No stream keeps the messages of others from an aggregator's actor.
    StreamsTakeTurns,
    /// A process whose streams are refused again and again opens them at growing intervals.
    ReconnectsAreSpaced,
    /// Without faults, at most one aggregator owns the pool.
    OneOwner,
    /// Without faults, an aggregator owns the pool.
    PoolHasOwner,
    /// Without faults, the load of a replica that has exited leaves the pool within the origin TTL.
    GoneReplicasHoldNothing,
    /// Without other faults, an endpoint that its collector cannot scrape becomes stale everywhere.
    UnscrapedIsStale,
    /// Without faults of streams or processes, every placement is acknowledged in time.
    PlacementsAreAcknowledged,
    /// Once settled, no aggregator remembers a follower whose stream has ended.
    GoneFollowersAreForgotten,
    /// Once settled, all processes have the owner's state.
    StateConverges,
    /// Once settled, one collector scrapes each endpoint, under the current generation.
    OneCollectorPerEndpoint,
    /// Once settled, the pool's loads equal the in-flight gauges of the replicas.
    LoadsMatchGauges,
    /// After all requests have ended, nothing is booked.
    NoLeakedBookings,
    /// No more requests of a flow are granted than wait, and the number of a grant never decreases while the flow is known.
    GrantsFitWhatWaits,
    /// Each request that waits leaves the queue once, and its replica reports it until then.
    WaitsEndOnce,
    /// No request waits for longer than it may, or while the pool has room for it.
    NoStarvation,
    /// The number up to which a replica has used the grants of a flow never decreases.
    GrantsAreUsedOnce,
    /// A replica grants by itself only while it has no owner, and only in its share of the pool.
    OwnGrantsAreBounded,
    /// A request that was revoked is not served, and none is revoked whose response has begun.
    RevokedIsNotServed,
    /// No more requests are revoked than ordered, and no more are ordered than there are, for one of a higher priority that waits.
    RevocationsFitWhatWaits,
    /// After all requests have ended, none waits, and the pool knows it.
    QueuesEmpty,
    /// Once settled, no replica has unacknowledged placements.
    OverlaysAreEmpty,
    /// Once settled, all endpoints are fresh.
    EndpointsAreFresh,
    /// Once settled, the circuit of an endpoint that serves requests again is closed.
    CircuitsClose,
    /// A standby does not replace an owner that runs and that a follower hears.
    HeardOwnerStays,
    /// A standby takes over soon after the previous owner is gone, or after its lease has ended if no follower
    /// can tell.
    TakeoverIsFast,
    /// A takeover by an up-to-date standby sends no snapshots.
    TakeoverWithoutSnapshots,
    /// A draining owner leaves all its changes to the next owner.
    DrainLosesNothing,
    /// What a follower holds of an earlier owner's state is inherited, whoever owns the pool in between.
    EarlierStateIsInherited,
}

impl Invariant {
    /// All invariants.
    pub const ALL: [Self; 51] = [
        Self::OneWriter,
        Self::OneState,
        Self::VersionsGrow,
        Self::EpochsGrow,
        Self::EpochsAreGenuine,
        Self::NoDivergence,
        Self::ClockContinues,
        Self::SignalDoesNotDip,
        Self::AcknowledgementsGrow,
        Self::AcknowledgedIsApplied,
        Self::ExpiredOriginsStayExpired,
        Self::GenerationsAreUnique,
        Self::GaugesAreNotNegative,
        Self::OneOriginRenewal,
        Self::DrainingGetsNoRequests,
        Self::DrainingKeepsBookings,
        Self::OutrankedStepsDown,
        Self::OriginsAreBound,
        Self::OneProbeAtATime,
        Self::SnapshotsAreServed,
        Self::SnapshotsAreSpaced,
        Self::SnapshotsAreExact,
        Self::HeartbeatsGoOn,
        Self::StreamsTakeTurns,
        Self::ReconnectsAreSpaced,
        Self::OneOwner,
        Self::PoolHasOwner,
        Self::GoneReplicasHoldNothing,
        Self::UnscrapedIsStale,
        Self::PlacementsAreAcknowledged,
        Self::GoneFollowersAreForgotten,
        Self::StateConverges,
        Self::OneCollectorPerEndpoint,
        Self::LoadsMatchGauges,
        Self::NoLeakedBookings,
        Self::GrantsFitWhatWaits,
        Self::WaitsEndOnce,
        Self::NoStarvation,
        Self::GrantsAreUsedOnce,
        Self::OwnGrantsAreBounded,
        Self::RevokedIsNotServed,
        Self::RevocationsFitWhatWaits,
        Self::QueuesEmpty,
        Self::OverlaysAreEmpty,
        Self::EndpointsAreFresh,
        Self::CircuitsClose,
        Self::HeardOwnerStays,
        Self::TakeoverIsFast,
        Self::TakeoverWithoutSnapshots,
        Self::DrainLosesNothing,
        Self::EarlierStateIsInherited,
    ];

    /// Returns the name used in reports and in the documentation.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OneWriter => "one-writer",
            Self::OneState => "one-state",
            Self::VersionsGrow => "versions-grow",
            Self::EpochsGrow => "epochs-grow",
            Self::EpochsAreGenuine => "epochs-are-genuine",
            Self::NoDivergence => "no-divergence",
            Self::ClockContinues => "clock-continues",
            Self::SignalDoesNotDip => "signal-does-not-dip",
            Self::AcknowledgementsGrow => "acknowledgements-grow",
            Self::AcknowledgedIsApplied => "acknowledged-is-applied",
            Self::ExpiredOriginsStayExpired => "expired-origins-stay-expired",
            Self::GenerationsAreUnique => "generations-are-unique",
            Self::GaugesAreNotNegative => "gauges-are-not-negative",
            Self::OneOriginRenewal => "one-origin-renewal",
            Self::DrainingGetsNoRequests => "draining-gets-no-requests",
            Self::DrainingKeepsBookings => "draining-keeps-bookings",
            Self::OutrankedStepsDown => "outranked-steps-down",
            Self::OriginsAreBound => "origins-are-bound",
            Self::OneProbeAtATime => "one-probe-at-a-time",
            Self::SnapshotsAreServed => "snapshots-are-served",
            Self::SnapshotsAreSpaced => "snapshots-are-spaced",
            Self::SnapshotsAreExact => "snapshots-are-exact",
            Self::HeartbeatsGoOn => "heartbeats-go-on",
            Self::StreamsTakeTurns => "streams-take-turns",
            Self::ReconnectsAreSpaced => "reconnects-are-spaced",
            Self::OneOwner => "one-owner",
            Self::PoolHasOwner => "pool-has-owner",
            Self::GoneReplicasHoldNothing => "gone-replicas-hold-nothing",
            Self::UnscrapedIsStale => "unscraped-is-stale",
            Self::PlacementsAreAcknowledged => "placements-are-acknowledged",
            Self::GoneFollowersAreForgotten => "gone-followers-are-forgotten",
            Self::StateConverges => "state-converges",
            Self::OneCollectorPerEndpoint => "one-collector-per-endpoint",
            Self::LoadsMatchGauges => "loads-match-gauges",
            Self::NoLeakedBookings => "no-leaked-bookings",
            Self::GrantsFitWhatWaits => "grants-fit-what-waits",
            Self::WaitsEndOnce => "waits-end-once",
            Self::NoStarvation => "no-starvation",
            Self::GrantsAreUsedOnce => "grants-are-used-once",
            Self::OwnGrantsAreBounded => "own-grants-are-bounded",
            Self::RevokedIsNotServed => "revoked-is-not-served",
            Self::RevocationsFitWhatWaits => "revocations-fit-what-waits",
            Self::QueuesEmpty => "queues-empty",
            Self::OverlaysAreEmpty => "overlays-are-empty",
            Self::EndpointsAreFresh => "endpoints-are-fresh",
            Self::CircuitsClose => "circuits-close",
            Self::HeardOwnerStays => "heard-owner-stays",
            Self::TakeoverIsFast => "takeover-is-fast",
            Self::TakeoverWithoutSnapshots => "takeover-without-snapshots",
            Self::DrainLosesNothing => "drain-loses-nothing",
            Self::EarlierStateIsInherited => "earlier-state-is-inherited",
        }
    }
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A violated invariant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The invariant.
    pub invariant: Invariant,
    /// What was observed instead.
    pub observed: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.observed)
    }
}
