//! Checks that each origin's feedback comes from its own replica.

use std::collections::BTreeMap;

use signalbox_types::Origin;

use super::{ProcessId, StepChecker};
use crate::invariants::Invariant;

/// How long an origin stays bound to its replica after the last batch, in microseconds: almost the origin TTL, because
/// clocks drift.
const BOUND_US: u64 = 2_500_000;

/// Which replica each origin belongs to, and when an owner last accepted its feedback.
#[derive(Debug, Default)]
pub(super) struct FeedbackSources {
    replicas: BTreeMap<Origin, ProcessId>,
    accepted_us: BTreeMap<(ProcessId, Origin), u64>,
    /// When each replica's run ended, by origin.
    gone_us: BTreeMap<Origin, u64>,
}

impl StepChecker {
    /// Records the origin that a replica has taken.
    pub(crate) fn record_origin(&mut self, replica: ProcessId, origin: Origin) {
        self.sources.replicas.insert(origin, replica);
    }

    /// Records that a replica is gone.
    pub(crate) fn record_exit(&mut self, process: ProcessId, origin: Origin) {
        self.waits.forget(process);
        self.revocations.forget(process);
        self.sources.gone_us.insert(origin, self.now_us);
    }

    /// Checks that a replica renews an expired origin only once.
    pub(crate) fn check_origin_renewal(&mut self, expired: Origin) {
        if !self.renewed_origins.insert(expired) {
            self.fail(Invariant::OneOriginRenewal, || format!("{expired} was renewed twice"));
        }
    }

    /// Returns the origins of replicas that have been gone for this long.
    pub(crate) fn origins_gone_for(&self, us: u64) -> impl Iterator<Item = Origin> + use<'_> {
        let gone = self.sources.gone_us.iter();
        gone.filter(move |(_, at_us)| self.now_us >= **at_us + us).map(|(origin, _)| *origin)
    }

    /// Returns whether an owner has accepted feedback of an origin just now.
    pub(crate) fn is_bound(&self, owner: ProcessId, origin: Origin) -> bool {
        let accepted_us = self.sources.accepted_us.get(&(owner, origin));
        accepted_us.is_some_and(|accepted_us| self.now_us < accepted_us + BOUND_US)
    }

    /// Checks whether an owner may accept feedback of an origin from `sender`, or refuse it.
    pub(crate) fn check_origin(
        &mut self,
        owner: ProcessId,
        sender: ProcessId,
        origin: Origin,
        is_accepted: bool,
    ) {
        let Some(replica) = self.sources.replicas.get(&origin).copied() else { return };
        let is_genuine = replica.0 == sender.0;
        if is_accepted == is_genuine {
            if is_genuine {
                self.sources.accepted_us.insert((owner, origin), self.now_us);
            }
        } else if is_genuine || self.is_bound(owner, origin) {
            let verb = if is_accepted { "accepts" } else { "refuses" };
            self.fail(Invariant::OriginsAreBound, || {
                format!(
                    "{owner:?} {verb} feedback of {origin}, which is that of {replica:?}, from {sender:?}"
                )
            });
        }
    }
}
