//! A Lease without the types of the Kubernetes client.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use k8s_openapi::api::coordination::v1 as kubernetes;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference};
use k8s_openapi::jiff::Timestamp;

/// A `coordination.k8s.io/v1` Lease.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lease {
    /// Name of the object.
    pub name: String,
    /// Identity of the object; empty until it is created.
    pub uid: String,
    /// Changes with each write; empty until it is created.
    pub resource_version: String,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// The Lease with which this one is deleted.
    pub owner: Option<LeaseOwner>,
    /// Who holds it.
    pub holder: Option<String>,
    /// How long it is valid after a renewal; whole seconds.
    pub duration: Option<Duration>,
    /// When the holder took it, by the holder's clock; microseconds.
    pub acquired: Option<SystemTime>,
    /// When the holder renewed it last, by the holder's clock; microseconds.
    pub renewed: Option<SystemTime>,
    /// How many times the holder changed.
    pub transitions: u32,
}

/// A Lease on which another one depends: the cluster deletes the dependent one with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseOwner {
    /// Name of the object.
    pub name: String,
    /// Identity of the object.
    pub uid: String,
}

/// All Leases at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaseList {
    /// The Leases.
    pub leases: Vec<Lease>,
    /// The version from which a watch continues.
    pub resource_version: String,
}

/// A change that a watch reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseEvent {
    /// The Lease is new or has changed.
    Changed(Lease),
    /// The Lease is gone. This is its last state.
    Deleted(Lease),
}

impl From<kubernetes::Lease> for Lease {
    fn from(object: kubernetes::Lease) -> Self {
        let (metadata, spec) = (object.metadata, object.spec.unwrap_or_default());
        let owners = metadata.owner_references.unwrap_or_default();
        let owner = owners.into_iter().find(|owner| owner.kind == "Lease");
        let seconds = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        Self {
            name: metadata.name.unwrap_or_default(),
            uid: metadata.uid.unwrap_or_default(),
            resource_version: metadata.resource_version.unwrap_or_default(),
            annotations: metadata.annotations.unwrap_or_default(),
            owner: owner.map(|owner| LeaseOwner { name: owner.name, uid: owner.uid }),
            holder: spec.holder_identity.filter(|holder| !holder.is_empty()),
            duration: seconds.map(Duration::from_secs),
            acquired: spec.acquire_time.map(|time| time.0.into()),
            renewed: spec.renew_time.map(|time| time.0.into()),
            transitions: spec.lease_transitions.and_then(|count| u32::try_from(count).ok()).unwrap_or(0),
        }
    }
}

impl Lease {
    /// Returns the object to send. The label makes it one of those that are listed and watched.
    pub(super) fn to_object(&self, label: &(String, String)) -> kubernetes::Lease {
        let text = |value: &String| Some(value.clone()).filter(|value| !value.is_empty());
        let owner = self.owner.as_ref().map(|owner| OwnerReference {
            api_version: "coordination.k8s.io/v1".to_owned(),
            kind: "Lease".to_owned(),
            name: owner.name.clone(),
            uid: owner.uid.clone(),
            ..OwnerReference::default()
        });
        let metadata = ObjectMeta {
            name: text(&self.name),
            uid: text(&self.uid),
            resource_version: text(&self.resource_version),
            annotations: Some(self.annotations.clone()),
            labels: Some(BTreeMap::from([label.clone()])),
            owner_references: owner.map(|owner| vec![owner]),
            ..ObjectMeta::default()
        };
        let seconds = self.duration.map(|duration| duration.as_secs_f64().ceil() as i32);
        let spec = kubernetes::LeaseSpec {
            holder_identity: self.holder.clone(),
            lease_duration_seconds: seconds,
            acquire_time: self.acquired.and_then(micro_time),
            renew_time: self.renewed.and_then(micro_time),
            lease_transitions: i32::try_from(self.transitions).ok(),
            ..kubernetes::LeaseSpec::default()
        };
        kubernetes::Lease { metadata, spec: Some(spec) }
    }
}

/// Returns a time in whole microseconds; `None` for one that Kubernetes cannot represent.
fn micro_time(time: SystemTime) -> Option<MicroTime> {
    let micros = Timestamp::try_from(time).ok()?.as_microsecond();
    Timestamp::from_microsecond(micros).ok().map(MicroTime)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn object_holds_all_fields() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_micros(1_700_000_000_123_456);
        let lease = Lease {
            name: "one".to_owned(),
            uid: "u".to_owned(),
            resource_version: "7".to_owned(),
            annotations: BTreeMap::from([("a".to_owned(), "b".to_owned())]),
            owner: Some(LeaseOwner { name: "installation".to_owned(), uid: "v".to_owned() }),
            holder: Some("me".to_owned()),
            duration: Some(Duration::from_secs(6)),
            acquired: Some(time),
            renewed: Some(time + Duration::from_micros(1)),
            transitions: 3,
        };
        let label = ("signalbox.dev/installation".to_owned(), "x".to_owned());
        let object = lease.to_object(&label);
        assert_eq!(Some(BTreeMap::from([label])), object.metadata.labels);
        assert_eq!(lease, Lease::from(object));
        let label = (String::new(), String::new());
        let short = Lease { duration: Some(Duration::from_millis(1_200)), ..Lease::default() };
        assert_eq!(Some(Duration::from_secs(2)), Lease::from(short.to_object(&label)).duration);
    }
}
