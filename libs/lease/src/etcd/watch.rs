//! Mirrors etcd's contents: lists all entries once, then applies changes, and lists again after each
//! interruption.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use etcd_client::{EventType, GetOptions, WatchOptions, WatchResponse, WatchStream};
use tokio::time::{MissedTickBehavior, interval, sleep_until};

use super::{EtcdCoordinator, EtcdError, with_timeout};
use crate::outage::OutageTracker;
use crate::registry::keys::{self, Entries};
use crate::registry::{Event, Registry, RegistryContents};

/// How often the watch requests a progress notification.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// A watch that stays silent this long is dead, whatever the state of its connection.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(3);

/// Mirrors etcd until the coordinator is dropped. The registry keeps its contents while etcd is unavailable.
pub(super) async fn watch(coordinator: Weak<EtcdCoordinator>) {
    let mut outage = OutageTracker::new();
    while let Some(strong) = coordinator.upgrade() {
        let registry = Arc::clone(&strong.registry);
        let opened = open(&strong).await;
        // The watch must not keep the coordinator alive.
        drop(strong);
        let error = match opened {
            Ok(stream) => {
                outage.record_success("etcd is available again");
                follow(&registry, stream).await
            }
            Err(error) => error,
        };
        if let Some(coordinator) = coordinator.upgrade() {
            coordinator.forget_client().await;
        }
        let delay = outage.record_failure(
            "etcd is unavailable; keeping what it last reported",
            &error,
            rand::random(),
        );
        tokio::time::sleep(delay).await;
    }
}

/// Lists all entries and opens a watch that continues from there.
async fn open(coordinator: &EtcdCoordinator) -> Result<WatchStream, EtcdError> {
    let mut client = coordinator.client().await?;
    let mut listing = with_timeout(client.get(keys::PREFIX, Some(GetOptions::new().with_prefix()))).await?;
    let revision = listing.header().map_or(0, etcd_client::ResponseHeader::revision);
    let options = WatchOptions::new().with_prefix().with_start_revision(revision + 1);
    let stream = with_timeout(client.watch(keys::PREFIX, Some(options))).await?;
    let entries = listing.take_kvs().into_iter().map(etcd_client::KeyValue::into_key_value);
    let entries: Entries = entries.map(|(key, value)| (key_text(&key), value)).collect();
    coordinator.registry.update(|contents| contents.replace(entries, Instant::now(), coordinator.max_ttl()));
    Ok(stream)
}

/// Applies changes until the watch fails. Returns why it failed.
async fn follow(registry: &Registry, stream: WatchStream) -> EtcdError {
    let (mut requests, mut changes) = stream.split();
    let (mut ticks, mut last_message) = (interval(PROGRESS_INTERVAL), Instant::now());
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let grace_ends = registry.read(RegistryContents::grace_ends);
        // The branch below is disabled outside of a grace period, so the default time does not matter.
        let end_of_grace = sleep_until(grace_ends.unwrap_or(last_message).into());
        tokio::select! {
            message = changes.message() => match message {
                Ok(Some(message)) => {
                    last_message = Instant::now();
                    if let Err(error) = apply(registry, &message, last_message) {
                        return error;
                    }
                }
                Ok(None) => return EtcdError::Closed,
                Err(error) => return error.into(),
            },
            _ = ticks.tick() => {
                if last_message.elapsed() > SILENCE_TIMEOUT {
                    return EtcdError::Timeout;
                }
                if let Err(error) = requests.request_progress().await {
                    return error.into();
                }
            }
            () = end_of_grace, if grace_ends.is_some() => {
                registry.update(|contents| contents.end_grace(Instant::now()));
            }
        }
    }
}

fn apply(registry: &Registry, message: &WatchResponse, now: Instant) -> Result<(), EtcdError> {
    // etcd compacted its history or has no leader: a new listing fetches what was missed.
    if message.canceled() {
        return Err(EtcdError::WatchCancelled(message.cancel_reason().to_owned()));
    }
    let events: Vec<Event> = message.events().iter().filter_map(event).collect();
    if !events.is_empty() {
        registry.update(|contents| events.into_iter().for_each(|event| contents.apply(event, now)));
    }
    Ok(())
}

fn event(event: &etcd_client::Event) -> Option<Event> {
    let entry = event.kv()?;
    let key = key_text(entry.key());
    Some(match event.event_type() {
        EventType::Put => Event::Put(key, entry.value().to_vec()),
        EventType::Delete => Event::Deleted(key),
    })
}

/// Returns a key as text. Signalbox's keys are UTF-8; other keys are never decoded.
fn key_text(key: &[u8]) -> String {
    String::from_utf8_lossy(key).into_owned()
}
