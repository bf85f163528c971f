//! Writes Events about objects that cannot be used, so that `kubectl describe` shows why.

mod plan;
mod writer;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::{sleep_until, timeout};

use self::plan::EventPlan;
use self::writer::EventWriter;
use crate::cluster::Cluster;
use crate::objects::ObjectRef;

/// Time limit for one Event. The next one may be written all the same.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// Something to tell about an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ObjectEvent {
    pub(crate) object: ObjectRef,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

/// Starts the task that writes the Events in the returned channel, as fast as it may, and again while they stay there. It ends when the
/// sender is dropped.
pub(crate) fn start_events(cluster: &Cluster) -> watch::Sender<BTreeSet<ObjectEvent>> {
    let (sender, wanted) = watch::channel(BTreeSet::new());
    tokio::spawn(run(EventWriter::new(cluster.client()), wanted));
    sender
}

async fn run(mut writer: EventWriter, mut wanted: watch::Receiver<BTreeSet<ObjectEvent>>) {
    let mut plan = EventPlan::new(Instant::now());
    loop {
        match wanted.has_changed() {
            Ok(true) => plan.want(Instant::now(), wanted.borrow_and_update().clone()),
            Ok(false) => {}
            Err(_) => return,
        }
        if let Some(event) = plan.next(Instant::now()) {
            if timeout(WRITE_TIMEOUT, writer.write(&event)).await.unwrap_or(false) {
                plan.record_written(Instant::now(), &event);
            }
            continue;
        }
        let due = plan.next_due();
        // The branch below is disabled without a time, so the default does not matter.
        let wait = sleep_until(due.unwrap_or_else(Instant::now).into());
        tokio::select! {
            changed = wanted.changed() => {
                if changed.is_err() {
                    return;
                }
                wanted.mark_changed();
            }
            () = wait, if due.is_some() => {}
        }
    }
}
