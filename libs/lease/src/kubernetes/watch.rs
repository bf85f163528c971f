//! Mirrors the installation's Leases: lists them once, then applies changes, and lists again after each
//! interruption and when a member is due to expire.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{Stream, StreamExt};
use signalbox_kube::{LeaseError, LeaseEvent, Leases};
use tokio::time::{sleep, sleep_until};

use super::Mirror;
use crate::outage::OutageTracker;

/// Delay before the next listing when the API server has ended a watch.
const REOPEN_DELAY: Duration = Duration::from_millis(100);

/// Mirrors the Leases until it is aborted. The registry keeps its contents while the API server is unavailable.
pub(super) async fn watch(leases: Leases, mirror: Arc<Mirror>) {
    let mut outage = OutageTracker::new();
    loop {
        let Err(error) = list_and_follow(&leases, &mirror, &mut outage).await else { continue };
        mirror.record_trouble();
        let delay = outage.record_failure(
            "the Leases cannot be watched; keeping what was last reported",
            &error,
            rand::random(),
        );
        sleep(delay).await;
    }
}

/// Lists all Leases and applies changes until another listing is due.
async fn list_and_follow(
    leases: &Leases,
    mirror: &Mirror,
    outage: &mut OutageTracker,
) -> Result<(), LeaseError> {
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
    follow(mirror, events).await
}

/// Applies changes until another listing is due.
async fn follow(
    mirror: &Mirror,
    events: impl Stream<Item = Result<LeaseEvent, LeaseError>>,
) -> Result<(), LeaseError> {
    let (mut events, started) = (pin!(events), Instant::now());
    loop {
        let next_listing = mirror.table().next_listing();
        // The branch below is disabled without a time, so the default does not matter.
        let listing_is_due = sleep_until(next_listing.unwrap_or(started).into());
        tokio::select! {
            event = events.next() => match event {
                Some(event) => mirror.apply(event?),
                None => {
                    sleep(REOPEN_DELAY).await;
                    return Ok(());
                }
            },
            () = listing_is_due, if next_listing.is_some() => return Ok(()),
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

    fn apply(&self, event: LeaseEvent) {
        let (mut table, now) = (self.table(), Instant::now());
        if table.apply(event, now) {
            let entries = table.entries();
            self.registry.update(|contents| contents.change_to(entries, now));
        }
    }
}
