//! Writes Events to the API server.

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use xxhash_rust::xxh3::xxh3_64;

use super::ObjectEvent;
use crate::causes::causes;

/// Name under which Events are written.
const REPORTER: &str = "signalbox.dev/aggregator";

/// Length of the longest message of an Event in characters; the API server allows 1024 bytes.
const MAX_MESSAGE_CHARS: usize = 250;

/// Length of the longest part of an Event's name that shows the object.
const MAX_LEGIBLE: usize = 200;

/// Count of a series that continues. How often it was told before is not known.
const REPEATED: u32 = 2;

/// Writes Events, and logs once that it may not.
pub(super) struct EventWriter {
    client: Client,
    was_refused: bool,
}

impl EventWriter {
    pub(super) fn new(client: Client) -> Self {
        Self { client, was_refused: false }
    }

    /// Writes `event`. Returns whether that succeeded.
    ///
    /// The name of an Event follows from what it says. When another aggregator has written it already, or this one
    /// did earlier, the Event that exists shows that it was told again.
    pub(super) async fn write(&mut self, event: &ObjectEvent) -> bool {
        let events: Api<Event> = Api::namespaced(self.client.clone(), &event.object.key.namespace);
        let mut result = events.create(&PostParams::default(), &object(event)).await.map(drop);
        if matches!(&result, Err(kube::Error::Api(status)) if status.code == 409) {
            let now = MicroTime(Timestamp::now());
            let series = json!({ "series": { "count": REPEATED, "lastObservedTime": now } });
            let patched = events.patch(&name(event), &PatchParams::default(), &Patch::Merge(series)).await;
            result = patched.map(drop);
        }
        match result {
            Ok(()) => {
                self.was_refused = false;
                true
            }
            Err(kube::Error::Api(status)) if status.is_forbidden() => {
                self.log_refusal(&status.message);
                false
            }
            Err(error) => {
                tracing::debug!(error = %causes(&error), "cannot write an event; retrying");
                false
            }
        }
    }

    fn log_refusal(&mut self, error: &str) {
        if !std::mem::replace(&mut self.was_refused, true) {
            tracing::warn!(
                error,
                rule = "{ apiGroups: [events.k8s.io], resources: [events], verbs: [create, patch] }",
                "not permitted to write events; add the rule to the role; going on without events"
            );
        }
    }
}

/// Returns the name of the Event, the same in all processes. Other Events have other names.
fn name(event: &ObjectEvent) -> String {
    let ObjectEvent { object, reason, message } = event;
    let key = &object.key;
    let said = [object.api_version, object.kind, &key.namespace, &key.name, &object.uid, reason, message];
    let hash = xxh3_64(said.join("\n").as_bytes());
    let legible: String = key.name.chars().take(MAX_LEGIBLE).collect();
    format!("{}.{hash:016x}", legible.trim_end_matches(['.', '-']))
}

fn object(event: &ObjectEvent) -> Event {
    let ObjectEvent { object, reason, message } = event;
    let namespace = Some(object.key.namespace.to_string());
    let regarding = ObjectReference {
        api_version: Some(object.api_version.to_owned()),
        kind: Some(object.kind.to_owned()),
        namespace: namespace.clone(),
        name: Some(object.key.name.to_string()),
        uid: Some(object.uid.to_string()),
        ..ObjectReference::default()
    };
    Event {
        metadata: ObjectMeta { name: Some(name(event)), namespace, ..ObjectMeta::default() },
        event_time: Some(MicroTime(Timestamp::now())),
        reporting_controller: Some(REPORTER.to_owned()),
        reporting_instance: Some(REPORTER.to_owned()),
        action: Some("Discover".to_owned()),
        reason: Some((*reason).to_owned()),
        regarding: Some(regarding),
        note: Some(message.chars().take(MAX_MESSAGE_CHARS).collect()),
        type_: Some("Warning".to_owned()),
        ..Event::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::{ObjectKey, ObjectRef};

    #[test]
    fn names_are_valid_and_tell_events_apart() {
        let event = |name: &str, uid: &str, message: &str| {
            let key = ObjectKey { namespace: "prod".into(), name: name.into() };
            let object = ObjectRef { api_version: "v1", kind: "Pod", key, uid: uid.into() };
            self::name(&ObjectEvent { object, reason: "Invalid", message: message.to_owned() })
        };
        let first = event("a", "1", "x");
        assert_eq!(first, event("a", "1", "x"));
        assert!(first.starts_with("a.") && first.len() == 18, "{first}");
        let others = [event("b", "1", "x"), event("a", "2", "x"), event("a", "1", "y")];
        assert!(!others.contains(&first));
        let long = format!("{}-.{}", "a".repeat(199), "b".repeat(52));
        let long = event(&long, "1", "x");
        assert!(long.len() <= 253 && long.starts_with(&format!("{}.", "a".repeat(199))), "{long}");
    }
}
