//! Lists of values.

use serde_json::{Value, json};
use signalbox_types::PoolId;

use crate::failure::Failure;
use crate::metrics::Reading;
use crate::quantity::quantity;
use crate::selector::Selector;
use crate::target::{PoolApi, Version};

/// The label of an external metric with the name of the pool.
pub(crate) const POOL_LABEL: &str = "inference_pool";

/// The `MetricValueList` of a metric of objects. It repeats the selector by which parts of them were chosen.
pub(crate) fn of_objects(
    version: Version,
    api: PoolApi,
    (metric, selector): (&str, &Selector),
    readings: &[(PoolId, Reading)],
) -> Result<Value, Failure> {
    let item = |(pool, reading): &(PoolId, Reading)| {
        let mut item = json!({
            "describedObject": {
                "kind": "InferencePool",
                "namespace": pool.namespace,
                "name": pool.name,
                "apiVersion": format!("{}/{}", api.group, api.version),
            },
            "timestamp": reading.timestamp,
            "value": value(metric, reading)?,
        });
        match version {
            Version::V1Beta1 => {
                item["metricName"] = json!(metric);
                item["selector"] = selector.document();
            }
            Version::V1Beta2 => {
                item["metric"] = json!({ "name": metric, "selector": selector.document() });
            }
        }
        Ok(item)
    };
    let items: Vec<Value> = readings.iter().map(item).collect::<Result<_, _>>()?;
    Ok(list("MetricValueList", &format!("custom.metrics.k8s.io/{}", version.name()), &items))
}

/// The `ExternalMetricValueList` of a metric.
pub(crate) fn external(metric: &str, pool: &PoolId, reading: &Reading) -> Result<Value, Failure> {
    let item = json!({
        "metricName": metric,
        "metricLabels": { POOL_LABEL: pool.name },
        "timestamp": reading.timestamp,
        "value": value(metric, reading)?,
    });
    Ok(list("ExternalMetricValueList", "external.metrics.k8s.io/v1beta1", &[item]))
}

fn value(metric: &str, reading: &Reading) -> Result<String, Failure> {
    let no_amount = || Failure::Unavailable(format!("{metric} is {}, which is no amount", reading.value));
    quantity(reading.value).ok_or_else(no_amount)
}

fn list(kind: &str, api_version: &str, items: &[Value]) -> Value {
    json!({ "kind": kind, "apiVersion": api_version, "metadata": {}, "items": items })
}
