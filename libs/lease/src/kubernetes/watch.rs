//! Mirrors the installation's Leases: lists them once, then applies changes, and lists again after each
//! interruption and when a member is due to expire.
//!
//! Watches that end soon after they began are opened again ever more slowly.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{Stream, StreamExt};
use signalbox_actors::{Backoff, BackoffPolicy};
use signalbox_kube::{Lease, LeaseError, LeaseEvent, Leases};
use tokio::time::{sleep, sleep_until};

use super::Mirror;
use crate::outage::OutageTracker;

/// Delays before the next listing when a watch has ended.
const REOPEN: BackoffPolicy = BackoffPolicy { base: Duration::from_millis(100), cap: Duration::from_secs(5) };

/// For how long a watch must have run so that the next delay is the shortest again.
const STABLE_AFTER: Duration = Duration::from_secs(10);

/// Why changes are no longer applied.
enum Pause {
    /// Another listing is due.
    ListingDue,
    /// The API server has ended the watch.
    Ended,
}

/// Mirrors the Leases until it is aborted. The registry keeps its contents while the API server is unavailable.
pub(super) async fn watch(leases: Leases, mirror: Arc<Mirror>) {
    let (mut outage, mut reopen) = (OutageTracker::new(), Backoff::new(REOPEN));
    loop {
        let started = Instant::now();
        let result = list_and_follow(&leases, &mirror, &mut outage).await;
        if started.elapsed() >= STABLE_AFTER {
            reopen.on_success();
        }
        let delay = match result {
            Ok(Pause::ListingDue) => continue,
            Ok(Pause::Ended) => reopen.on_failure(rand::random()),
            Err(error) => {
                mirror.record_trouble();
                let delay = outage.record_failure(
                    "the Leases cannot be watched; keeping what was last reported",
                    &error,
                    rand::random(),
                );
                // A watch that fails as soon as it is open looks like a recovery each time.
                delay.max(reopen.on_failure(rand::random())).max(error.retry_after())
            }
        };
        sleep(delay).await;
    }
}

/// Lists all Leases and applies changes until another listing is due.
async fn list_and_follow(
    leases: &Leases,
    mirror: &Mirror,
    outage: &mut OutageTracker,
) -> Result<Pause, LeaseError> {
    let requested_at = Instant::now();
    let list = leases.list().await?;
    let after_outage = outage.has_failed();
    mirror.replace(requested_at, list.leases, after_outage);
    let events = leases.watch(&list.resource_version).await?;
    outage.record_success("the Leases are watched again");
    let forgotten = mirror.table().take_forgotten(Instant::now());
    for lease in forgotten {
        // Others may delete it too.
        if let Err(error) = leases.delete(&lease).await {
            tracing::debug!(lease = lease.name, %error, "cannot delete the Lease of a dead process");
        }
    }
    let orphans = mirror.orphans(None);
    if !orphans.is_empty() {
        tokio::spawn(adopt(leases.clone(), orphans));
    }
    follow(leases, mirror, events).await
}

/// Gives Leases an owner reference to the installation's Lease. Other aggregators do so, too, so conflicts are normal.
async fn adopt(leases: Leases, orphans: Vec<Lease>) {
    for lease in orphans {
        if let Err(error) = leases.replace(&lease).await {
            tracing::debug!(lease = lease.name, %error, "cannot make a Lease depend on the installation's");
        }
    }
}

/// Applies changes until another listing is due.
async fn follow(
    leases: &Leases,
    mirror: &Mirror,
    events: impl Stream<Item = Result<LeaseEvent, LeaseError>>,
) -> Result<Pause, LeaseError> {
    let (mut events, started) = (pin!(events), Instant::now());
    loop {
        let next_listing = mirror.table().next_listing();
        // The branch below is disabled without a time, so the default does not matter.
        let listing_is_due = sleep_until(next_listing.unwrap_or(started).into());
        tokio::select! {
            event = events.next() => match event {
                Some(event) => {
                    let orphans = mirror.apply(event?);
                    if !orphans.is_empty() {
                        tokio::spawn(adopt(leases.clone(), orphans));
                    }
                }
                None => return Ok(Pause::Ended),
            },
            () = listing_is_due, if next_listing.is_some() => return Ok(Pause::ListingDue),
        }
    }
}

impl Mirror {
    fn replace(&self, requested_at: Instant, leases: Vec<signalbox_kube::Lease>, after_outage: bool) {
        let (mut table, now) = (self.table(), Instant::now());
        if after_outage {
            // Nobody could renew a Lease during the outage.
            table.record_trouble(now);
        }
        table.replace(requested_at, now, leases);
        let entries = table.entries();
        self.registry.update(|contents| contents.change_to(entries, now));
    }

    /// Applies a change. Returns the Leases that must now be made to depend on the installation's.
    fn apply(&self, event: LeaseEvent) -> Vec<Lease> {
        let (LeaseEvent::Changed(Lease { name, .. }) | LeaseEvent::Deleted(Lease { name, .. })) = &event;
        let (name, now) = (name.clone(), Instant::now());
        if matches!(event, LeaseEvent::Deleted(_)) {
            // Nobody listens if no member was registered.
            let _ = self.deletions.send(name.clone());
        }
        let mut table = self.table();
        if !table.apply(event, now) {
            return Vec::new();
        }
        let entries = table.entries();
        self.registry.update(|contents| contents.change_to(entries, now));
        drop(table);
        self.orphans(Some(&name))
    }

    /// Returns the orphans among all Leases; with the name of a changed Lease, those that the change concerns.
    fn orphans(&self, changed: Option<&str>) -> Vec<Lease> {
        let table = self.table();
        let mut orphans = table.orphans();
        if let Some(changed) = changed.filter(|changed| !table.is_installation(changed)) {
            orphans.retain(|lease| lease.name == changed);
        }
        orphans
    }
}
