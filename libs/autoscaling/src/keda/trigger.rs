//! The trigger of a ScaledObject.

use std::collections::HashMap;
use std::str::FromStr;

use signalbox_protos::keda::externalscaler::ScaledObjectRef;
use signalbox_signal::{Group, Metric, Role};
use signalbox_types::PoolId;
use tonic::Status;

use crate::query::{DEPLOYMENT, ROLE, counts_replicas, known_pools};
use crate::signals::Signals;

/// Keys of a trigger's metadata. KEDA passes its own keys, such as `scalerAddress`, along.
const POOL: &str = "inferencePool";
const METRIC: &str = "metric";
const TARGET: &str = "target";

/// What a trigger asks for.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Trigger {
    pub(super) pool: PoolId,
    pub(super) metric: Metric,
    /// The value per replica to which the autoscaler scales.
    pub(super) target: f64,
    role: Option<Role>,
    deployment: Option<String>,
}

impl Trigger {
    /// Reads a trigger. Its pool is in the namespace of the ScaledObject, so that nobody scales by the traffic of others.
    pub(super) fn read(object: &ScaledObjectRef, signals: &impl Signals) -> Result<Self, Status> {
        let ScaledObjectRef { namespace, name, scaler_metadata: metadata } = object;
        let wrong = |error: String| {
            Status::invalid_argument(format!("the trigger of ScaledObject {namespace}/{name}: {error}"))
        };
        let pool = named_pool(namespace, metadata, signals).map_err(wrong)?;
        let metric = parsed(metadata, METRIC).map_err(wrong)?.unwrap_or(Metric::DesiredReplicas);
        Ok(Self {
            pool,
            metric,
            target: target(metadata, metric).map_err(wrong)?,
            role: parsed(metadata, ROLE).map_err(wrong)?,
            deployment: metadata.get(DEPLOYMENT).cloned(),
        })
    }

    /// Returns whether the trigger is for these pods.
    pub(super) fn selects(&self, group: &Group) -> bool {
        self.role.is_none_or(|role| role == group.role)
            && self.deployment.as_deref().is_none_or(|name| name == &*group.deployment)
    }
}

fn named_pool(
    namespace: &str,
    metadata: &HashMap<String, String>,
    signals: &impl Signals,
) -> Result<PoolId, String> {
    let known = || format!("known in namespace {namespace}: {}", known_pools(signals, namespace));
    let Some(name) = metadata.get(POOL).filter(|name| !name.is_empty()) else {
        return Err(format!("{POOL} is missing; set it to the name of an InferencePool, {}", known()));
    };
    let pool = PoolId { namespace: namespace.to_owned(), name: name.clone() };
    match signals.latest(&pool) {
        Some(_) => Ok(pool),
        None => Err(format!("{POOL}: there is no pool {name:?}; {}", known())),
    }
}

fn target(metadata: &HashMap<String, String>, metric: Metric) -> Result<f64, String> {
    let Some(text) = metadata.get(TARGET) else {
        return match counts_replicas(metric) {
            true => Ok(1.0),
            false => Err(format!("{TARGET} is missing; set it to the {metric} that one replica should have")),
        };
    };
    let target = text.parse().ok().filter(|target: &f64| target.is_finite() && *target > 0.0);
    target.ok_or_else(|| format!("{TARGET}: {text:?} is not a number above 0"))
}

fn parsed<T: FromStr<Err = String>>(
    metadata: &HashMap<String, String>,
    key: &str,
) -> Result<Option<T>, String> {
    let parse = |text: &String| text.parse().map_err(|error| format!("{key}: {error}"));
    metadata.get(key).map(parse).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::TestSignals;

    fn read(metadata: &[(&str, &str)]) -> Result<Trigger, String> {
        let pairs = metadata.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let object = ScaledObjectRef {
            name: "object".to_owned(),
            namespace: "ns".to_owned(),
            scaler_metadata: pairs.collect(),
        };
        let signals = TestSignals::new(&["one", "two"]);
        Trigger::read(&object, &signals).map_err(|status| status.message().to_owned())
    }

    #[test]
    fn a_pool_is_enough() {
        let trigger = read(&[("inferencePool", "one"), ("scalerAddress", "a:1")]).unwrap();
        assert_eq!(
            ("one", Metric::DesiredReplicas, 1.0),
            (&*trigger.pool.name, trigger.metric, trigger.target)
        );
        assert!(trigger.selects(&Group::default()) && trigger.selects(&Group::of_role(Role::Decode)));
    }

    #[test]
    fn metric_target_and_group_are_chosen() {
        let all = [
            ("inferencePool", "two"),
            ("metric", "signalbox_prefill_backlog_seconds"),
            ("target", "1.5"),
            ("role", "decode"),
            ("deployment", "large"),
        ];
        let trigger = read(&all).unwrap();
        assert_eq!((Metric::PrefillBacklog, 1.5), (trigger.metric, trigger.target));
        let group = |role, name: &str| Group { role, deployment: name.into() };
        assert!(trigger.selects(&group(Role::Decode, "large")));
        assert!(!trigger.selects(&group(Role::Both, "large")) && !trigger.selects(&group(Role::Decode, "")));
    }

    #[test]
    fn what_is_wrong_is_named_with_what_there_is() {
        let pool = ("inferencePool", "one");
        for (metadata, words) in [
            (&[][..], ["inferencePool is missing", "one, two"]),
            (&[("inferencePool", "")], ["inferencePool is missing", "one, two"]),
            (&[("inferencePool", "three")], ["no pool \"three\"", "one, two"]),
            (&[pool, ("metric", "queue")], ["metric: unknown metric \"queue\"", "signalbox_queue_requests"]),
            (
                &[pool, ("metric", "signalbox_queue_requests")],
                ["target is missing", "signalbox_queue_requests"],
            ),
            (&[pool, ("target", "0")], ["target: \"0\"", "above 0"]),
            (&[pool, ("target", "NaN")], ["target: \"NaN\"", "above 0"]),
            (&[pool, ("role", "both ")], ["role: unknown role", "prefill"]),
        ] {
            let error = read(metadata).unwrap_err();
            assert!(error.starts_with("the trigger of ScaledObject ns/object: "), "{error}");
            assert!(words.iter().all(|word| error.contains(word)), "{error}");
        }
    }
}
