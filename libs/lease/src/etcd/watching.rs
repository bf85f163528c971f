//! Keeps the board as etcd has it: lists once, then takes what changes, and lists again after each interruption.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use etcd_client::{EventType, GetOptions, WatchOptions, WatchResponse, WatchStream};
use tokio::time::{MissedTickBehavior, interval, sleep_until};

use super::outage::Outage;
use super::{EtcdError, Hub, answer};
use crate::board::Board;
use crate::keys::{self, Facts};
use crate::ledger::{Event, Ledger};

/// How often the watch is asked how far it is.
const ASKED_EVERY: Duration = Duration::from_secs(1);

/// A watch that says nothing for so long is dead, whatever its connection looks like.
const SILENCE: Duration = Duration::from_secs(3);

/// Watches until the hub is gone. What the board shows stays while etcd is away.
pub(super) async fn watch(hub: Weak<Hub>) {
    let mut outage = Outage::none();
    while let Some(strong) = hub.upgrade() {
        let board = Arc::clone(&strong.board);
        let opened = open(&strong).await;
        // The watch does not keep the hub.
        drop(strong);
        let error = match opened {
            Ok(stream) => {
                outage.ends("etcd is back");
                follow(&board, stream).await
            }
            Err(error) => error,
        };
        if let Some(hub) = hub.upgrade() {
            hub.forget_client().await;
        }
        let pause = outage.goes_on("etcd is away; what it said last stays", &error, rand::random());
        tokio::time::sleep(pause).await;
    }
}

/// Shows all that etcd holds, and watches from there.
async fn open(hub: &Hub) -> Result<WatchStream, EtcdError> {
    let mut client = hub.client().await?;
    let mut listed = answer(client.get(keys::PREFIX, Some(GetOptions::new().with_prefix()))).await?;
    let revision = listed.header().map_or(0, etcd_client::ResponseHeader::revision);
    let options = WatchOptions::new().with_prefix().with_start_revision(revision + 1);
    let stream = answer(client.watch(keys::PREFIX, Some(options))).await?;
    let entries = listed.take_kvs().into_iter().map(etcd_client::KeyValue::into_key_value);
    let facts: Facts = entries.map(|(key, value)| (text(&key), value)).collect();
    hub.board.update(|ledger| ledger.listed(facts, Instant::now(), hub.ttl()));
    Ok(stream)
}

/// Takes what changes until the watch fails; says why.
async fn follow(board: &Board, stream: WatchStream) -> EtcdError {
    let (mut asks, mut changes) = stream.split();
    let (mut ticks, mut heard) = (interval(ASKED_EVERY), Instant::now());
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let grace_ends = board.read(Ledger::grace_ends);
        // Guarded below: without an end nothing is waited for.
        let settles = sleep_until(grace_ends.unwrap_or(heard).into());
        tokio::select! {
            message = changes.message() => match message {
                Ok(Some(message)) => {
                    heard = Instant::now();
                    if let Err(error) = take(board, &message, heard) {
                        return error;
                    }
                }
                Ok(None) => return EtcdError::Closed,
                Err(error) => return error.into(),
            },
            _ = ticks.tick() => {
                if heard.elapsed() > SILENCE {
                    return EtcdError::NoAnswer;
                }
                if let Err(error) = asks.request_progress().await {
                    return error.into();
                }
            }
            () = settles, if grace_ends.is_some() => board.update(|ledger| ledger.settle(Instant::now())),
        }
    }
}

fn take(board: &Board, message: &WatchResponse, now: Instant) -> Result<(), EtcdError> {
    // Compacted, or no leader: what was missed is listed.
    if message.canceled() {
        return Err(EtcdError::Cancelled(message.cancel_reason().to_owned()));
    }
    let events: Vec<Event> = message.events().iter().filter_map(event).collect();
    if !events.is_empty() {
        board.update(|ledger| events.into_iter().for_each(|event| ledger.changed(event, now)));
    }
    Ok(())
}

fn event(event: &etcd_client::Event) -> Option<Event> {
    let entry = event.kv()?;
    let key = text(entry.key());
    Some(match event.event_type() {
        EventType::Put => Event::Put(key, entry.value().to_vec()),
        EventType::Delete => Event::Deleted(key),
    })
}

/// Keys of ours are text; of others' nothing is made anyway.
fn text(key: &[u8]) -> String {
    String::from_utf8_lossy(key).into_owned()
}
