//! The installation's Leases, and which members have expired. Pure: time is a parameter.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use signalbox_kube::{Lease, LeaseEvent, LeaseOwner};

use super::latency::Latency;
use super::objects;
use crate::registry::keys::{self, Entries};

/// How long a member must be dead before its Lease is deleted.
const FORGET_AFTER: Duration = Duration::from_secs(3_600);

/// For how long Leases still depend on the installation's Lease after it is gone.
const UNINSTALL_TIME: Duration = Duration::from_secs(60);

/// The installation's Leases as this process has seen them.
///
/// A member expires when its Lease was not renewed for its time to live, measured by this process's clock from
/// the moment at which the last renewal was seen: the clocks of machines are never compared. That alone would
/// remove members when the API server is away, or when the watch is stuck. So a member expires only by a listing
/// that was requested after that time, and only if the API server was not in trouble during it: it failed to answer,
/// or took longer than it usually does. One that is always slow is not in trouble. But then renewals are rare, because
/// members write the next one when the last one is answered: each may be late by as long as those of this process take.
///
/// A member that is missing from a listing is treated like one that was not renewed: the API server may have been
/// restored from an older history, and live processes register again. Only a change that the watch reports removes
/// a member at once. A missing member owns nothing: an earlier owner must learn at once that it lost the pool.
#[derive(Debug)]
pub(super) struct LeaseTable {
    /// Name of the installation, and of the Lease on which the others depend.
    installation: String,
    leases: BTreeMap<String, SeenLease>,
    /// Stays for a while after the Lease is gone: what is still written while the chart is being uninstalled is
    /// then deleted too.
    installation_lease: Option<LeaseOwner>,
    /// Since when the installation's Lease is known not to exist.
    uninstalled_at: Option<Instant>,
    last_trouble: Option<Instant>,
    latency: Latency,
    /// How long renewals take.
    renewals: Latency,
    /// Number of requests of this process that take longer than expected.
    overdue: usize,
}

#[derive(Clone, Debug)]
struct SeenLease {
    lease: Lease,
    /// When this process saw the last renewal.
    renewed_at: Instant,
    state: LeaseState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LeaseState {
    Present,
    /// The last listing did not have it.
    Missing,
    /// It is a member's and was not renewed in time.
    Expired,
}

impl SeenLease {
    fn new(lease: Lease, now: Instant) -> Self {
        Self { lease, renewed_at: now, state: LeaseState::Present }
    }

    fn shows_renewal_of(&self, lease: &Lease) -> bool {
        (self.lease.renewed, objects::run(&self.lease)) == (lease.renewed, objects::run(lease))
    }

    fn is(&self, state: LeaseState) -> bool {
        self.state == state
    }

    fn is_member(&self) -> bool {
        objects::read_member(&self.lease).is_some()
    }
}

impl LeaseTable {
    pub(super) fn new(installation: &str) -> Self {
        Self {
            installation: installation.to_owned(),
            leases: BTreeMap::new(),
            installation_lease: None,
            uninstalled_at: None,
            last_trouble: None,
            latency: Latency::default(),
            renewals: Latency::default(),
            overdue: 0,
        }
    }

    /// Returns how long a request may take before the API server is in trouble.
    pub(super) fn latency_limit(&self) -> Duration {
        let members = self.leases.values().filter(|seen| seen.is_member());
        let shortest = members.map(|seen| objects::ttl(&seen.lease)).min();
        self.latency.limit(shortest.unwrap_or(objects::DEFAULT_TTL))
    }

    /// Records that the API server answered to a renewal after this time.
    pub(super) fn record_answer(&mut self, elapsed: Duration) {
        self.latency.observe(elapsed);
        self.renewals.observe(elapsed);
    }

    /// Records that a request takes longer than expected: the API server is in trouble until it ends.
    pub(super) fn begin_overdue(&mut self, now: Instant) {
        self.overdue += 1;
        self.record_trouble(now);
    }

    /// Records the end of a request that took longer than expected.
    pub(super) fn end_overdue(&mut self, now: Instant) {
        self.overdue -= 1;
        self.record_trouble(now);
    }

    /// Records that the API server failed to answer, or took long to.
    pub(super) fn record_trouble(&mut self, now: Instant) {
        self.last_trouble = self.last_trouble.max(Some(now));
    }

    /// Replaces all Leases with a listing that was requested at `requested_at`, and expires members.
    pub(super) fn replace(&mut self, requested_at: Instant, now: Instant, leases: Vec<Lease>) {
        let elapsed = now.duration_since(requested_at);
        if self.overdue > 0 || elapsed > self.latency_limit() {
            self.record_trouble(now);
        }
        self.latency.observe(elapsed);
        let mut before = std::mem::take(&mut self.leases);
        for lease in leases {
            let seen = self.see(before.remove(&lease.name), lease, now);
            self.leases.insert(seen.lease.name.clone(), seen);
        }
        for (name, seen) in
            before.into_iter().filter(|(_, seen)| seen.is_member() && !seen.is(LeaseState::Expired))
        {
            self.leases.insert(name, SeenLease { state: LeaseState::Missing, ..seen });
        }
        if !self.leases.contains_key(&self.installation) {
            self.uninstalled_at.get_or_insert(now);
        }
        self.expire(requested_at);
    }

    fn expire(&mut self, requested_at: Instant) {
        let lateness = self.lateness();
        self.leases.retain(|_, seen| {
            let is_over = seen.is_member() && lateness.deadline(seen) <= requested_at;
            let is_gone = is_over && seen.is(LeaseState::Missing);
            if is_over {
                seen.state = LeaseState::Expired;
            }
            !is_gone
        });
    }

    /// Applies a change. Returns whether anything but the time of a renewal has changed.
    pub(super) fn apply(&mut self, event: LeaseEvent, now: Instant) -> bool {
        match event {
            LeaseEvent::Deleted(lease) => {
                if lease.name == self.installation {
                    self.uninstalled_at.get_or_insert(now);
                }
                self.leases.remove(&lease.name).is_some()
            }
            LeaseEvent::Changed(lease) => {
                let before = self.leases.remove(&lease.name);
                let known = before.as_ref().map(|seen| (contents(&seen.lease), seen.state));
                let seen = self.see(before, lease, now);
                let is_changed = known != Some((contents(&seen.lease), seen.state));
                self.leases.insert(seen.lease.name.clone(), seen);
                is_changed
            }
        }
    }

    /// Returns whether it is known if the installation's Lease exists.
    pub(super) fn knows_installation(&self) -> bool {
        self.installation_lease.is_some() || self.uninstalled_at.is_some()
    }

    /// Looks for the installation's Lease in a listing. Says nothing about the other Leases of it.
    pub(super) fn find_installation(&mut self, leases: &[Lease]) {
        if let Some(lease) = leases.iter().find(|lease| lease.name == self.installation) {
            self.see_installation(lease);
        }
    }

    fn see_installation(&mut self, lease: &Lease) {
        self.installation_lease = Some(LeaseOwner { name: lease.name.clone(), uid: lease.uid.clone() });
        self.uninstalled_at = None;
    }

    fn see(&mut self, before: Option<SeenLease>, lease: Lease, now: Instant) -> SeenLease {
        if lease.name == self.installation {
            self.see_installation(&lease);
        }
        match before {
            Some(before) if before.shows_renewal_of(&lease) => {
                let is_expired = before.is(LeaseState::Expired);
                let state = if is_expired { LeaseState::Expired } else { LeaseState::Present };
                SeenLease { lease, state, ..before }
            }
            _ => SeenLease::new(lease, now),
        }
    }

    fn lateness(&self) -> Lateness {
        Lateness { last_trouble: self.last_trouble, renewal: self.renewals.expected() }
    }

    /// Returns when the Leases must be listed again, to confirm that a member has expired or to delete a
    /// forgotten Lease.
    pub(super) fn next_listing(&self) -> Option<Instant> {
        let lateness = self.lateness();
        let members = self.leases.values().filter(|seen| seen.is_member());
        let next = members.map(|seen| match seen.state {
            LeaseState::Expired => seen.renewed_at + FORGET_AFTER,
            LeaseState::Present | LeaseState::Missing => lateness.deadline(seen),
        });
        next.min()
    }

    /// Returns the Leases of members that died long ago. Each is returned again only after as long a time.
    pub(super) fn take_forgotten(&mut self, now: Instant) -> Vec<Lease> {
        let is_forgotten =
            |seen: &&mut SeenLease| seen.is(LeaseState::Expired) && now >= seen.renewed_at + FORGET_AFTER;
        let forgotten = self.leases.values_mut().filter(is_forgotten).map(|seen| {
            seen.renewed_at = now;
            seen.lease.clone()
        });
        forgotten.collect()
    }

    /// Returns whether a Lease that was read just now shows the renewal of a member that has expired.
    pub(super) fn is_expired(&self, lease: &Lease) -> bool {
        self.leases
            .get(&lease.name)
            .is_some_and(|seen| seen.is(LeaseState::Expired) && seen.shows_renewal_of(lease))
    }

    /// Returns the Lease with which `lease` is to be deleted: the one that the chart installs. The cluster then
    /// deletes them all when the chart is uninstalled.
    ///
    /// The cluster also deletes whatever depends on a Lease that is gone. So an installation that goes on without
    /// its Lease, which somebody deleted by hand, writes Leases that depend on none.
    pub(super) fn owner_of(&self, lease: &Lease, now: Instant) -> Option<LeaseOwner> {
        let is_over = |since: Instant| now.duration_since(since) >= UNINSTALL_TIME;
        if self.uninstalled_at.is_some_and(is_over) {
            return lease.owner.clone().filter(|owner| owner.name != self.installation);
        }
        self.installation_lease.clone().or_else(|| lease.owner.clone())
    }

    /// Returns whether the installation's Lease has this name.
    pub(super) fn is_installation(&self, name: &str) -> bool {
        self.installation == name
    }

    /// Returns the Leases that do not depend on the installation's Lease although it exists, changed so that they
    /// do. Helm installs it after the Deployments, so others can be older. Those of live members are not among them:
    /// their next renewals see to it.
    pub(super) fn orphans(&self) -> Vec<Lease> {
        let Some(owner) = self.installation_lease.as_ref().filter(|_| self.uninstalled_at.is_none()) else {
            return Vec::new();
        };
        let is_orphan = |seen: &&SeenLease| {
            let is_kept = seen.is(LeaseState::Expired) || objects::read_ownership(&seen.lease).is_some();
            is_kept && seen.lease.owner.as_ref() != Some(owner)
        };
        let orphans = self.leases.values().filter(is_orphan);
        orphans.map(|seen| Lease { owner: Some(owner.clone()), ..seen.lease.clone() }).collect()
    }

    /// Returns the members that have not expired, and the pools that they own.
    pub(super) fn entries(&self) -> Entries {
        let mut entries = Entries::new();
        let mut runs = Vec::new();
        for seen in self.leases.values().filter(|seen| !seen.is(LeaseState::Expired)) {
            if let Some((member, run)) = objects::read_member(&seen.lease) {
                entries.insert(keys::member_key(member.role, &member.name), keys::encode_member(&member));
                runs.extend(seen.is(LeaseState::Present).then_some(run));
            }
        }
        for seen in self.leases.values() {
            let ownership = objects::read_ownership(&seen.lease);
            let Some((pool, (owner, run))) = ownership.and_then(|found| Some((found.pool, found.owner?)))
            else {
                continue;
            };
            if runs.contains(&run) {
                entries.insert(keys::owner_key(&pool), keys::encode_owner(&owner));
            }
        }
        entries
    }
}

/// Why a renewal of a live member may be late.
#[derive(Clone, Copy, Debug)]
struct Lateness {
    last_trouble: Option<Instant>,
    /// How long a renewal takes.
    renewal: Duration,
}

impl Lateness {
    /// Returns when a member expires. A member gets its whole time to live after trouble.
    fn deadline(self, seen: &SeenLease) -> Instant {
        let since = self.last_trouble.map_or(seen.renewed_at, |trouble| trouble.max(seen.renewed_at));
        since + objects::ttl(&seen.lease) + self.renewal
    }
}

/// Returns what a Lease says, without what changes with each renewal.
fn contents(lease: &Lease) -> Lease {
    Lease { resource_version: String::new(), renewed: None, ..lease.clone() }
}

#[cfg(test)]
mod tests;
