//! Writes Events about objects that cannot be used, so that `kubectl describe` shows why.

mod limiter;

use std::time::Instant;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use tokio::sync::mpsc;

use self::limiter::EventLimiter;
use crate::causes::causes;
use crate::cluster::Cluster;
use crate::objects::ObjectRef;

/// Number of Events that wait to be written. Further ones are dropped.
const WAITING: usize = 64;

/// Name under which Events are written.
const REPORTER: &str = "signalbox.dev/aggregator";

/// Length of the longest message of an Event in characters; the API server allows 1024 bytes.
const MAX_MESSAGE_CHARS: usize = 250;

/// Something to tell about an object.
#[derive(Clone, Debug)]
pub(crate) struct ObjectEvent {
    pub(crate) object: ObjectRef,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

/// Hands Events to the task that writes them. Never waits.
#[derive(Clone, Debug)]
pub(crate) struct EventSender(mpsc::Sender<ObjectEvent>);

impl EventSender {
    /// Writes `event` unless there were too many. One that fails is dropped.
    pub(crate) fn send(&self, event: ObjectEvent) {
        // What is lost here is in the log and in the metrics too.
        let _ = self.0.try_send(event);
    }
}

/// Starts the task that writes Events. It ends when all senders are dropped.
pub(crate) fn start_events(cluster: &Cluster) -> EventSender {
    let (sender, mut waiting) = mpsc::channel::<ObjectEvent>(WAITING);
    let recorder = Recorder::new(cluster.client(), Reporter::from(REPORTER));
    tokio::spawn(async move {
        let mut limiter = EventLimiter::new(Instant::now());
        let mut was_refused = false;
        while let Some(event) = waiting.recv().await {
            if limiter.admit(Instant::now(), &event) {
                write(&recorder, event, &mut was_refused).await;
            }
        }
    });
    EventSender(sender)
}

async fn write(recorder: &Recorder, event: ObjectEvent, was_refused: &mut bool) {
    let ObjectEvent { object, reason, message } = event;
    let reference = ObjectReference {
        api_version: Some(object.api_version.to_owned()),
        kind: Some(object.kind.to_owned()),
        namespace: Some(object.key.namespace.to_string()),
        name: Some(object.key.name.to_string()),
        uid: Some(object.uid.to_string()),
        ..ObjectReference::default()
    };
    let event = Event {
        type_: EventType::Warning,
        reason: reason.to_owned(),
        note: Some(message.chars().take(MAX_MESSAGE_CHARS).collect()),
        action: "Discover".to_owned(),
        secondary: None,
    };
    match recorder.publish(&event, &reference).await {
        Ok(()) => {}
        Err(kube::Error::Api(status)) if status.is_forbidden() => {
            if !std::mem::replace(was_refused, true) {
                tracing::warn!(
                    error = %status.message,
                    rule = "{ apiGroups: [events.k8s.io], resources: [events], verbs: [create, patch] }",
                    "not permitted to write events; add the rule to the role; going on without events"
                );
            }
        }
        Err(error) => tracing::debug!(error = %causes(&error), "cannot write an event"),
    }
}
