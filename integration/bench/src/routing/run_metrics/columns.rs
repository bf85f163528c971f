//! Serializes the metrics of several runs as one list of values per metric, rounded to five significant
//! digits. A report has thousands of runs, and this form names each metric once.

use std::collections::BTreeMap;

use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value, json};

use super::RunMetrics;

/// The values of each metric, one per run.
type Columns = BTreeMap<String, Vec<Option<f64>>>;

/// Serializes runs as columns.
pub(in super::super) fn serialize<S: Serializer>(
    runs: &[RunMetrics],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut columns = Columns::new();
    for run in runs {
        let Value::Object(metrics) = serde_json::to_value(run).map_err(S::Error::custom)? else {
            return Err(S::Error::custom("metrics are an object"));
        };
        for (name, value) in metrics {
            columns.entry(name).or_default().push(value.as_f64().map(rounded));
        }
    }
    columns.serialize(serializer)
}

/// Deserializes columns, which must all have the same number of values.
pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<RunMetrics>, D::Error> {
    let columns = Columns::deserialize(deserializer)?;
    let count = columns.values().next().map_or(0, Vec::len);
    if columns.values().any(|values| values.len() != count) {
        return Err(D::Error::custom("metrics have different numbers of values"));
    }
    let run = |at: usize| {
        let metrics: Map<_, _> =
            columns.iter().map(|(name, values)| (name.clone(), json!(values[at]))).collect();
        serde_json::from_value(Value::Object(metrics)).map_err(D::Error::custom)
    };
    (0..count).map(run).collect()
}

fn rounded(value: f64) -> f64 {
    format!("{value:.4e}").parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Runs(#[serde(with = "super")] Vec<RunMetrics>);

    #[test]
    fn runs_become_columns_and_back() -> serde_json::Result<()> {
        let run =
            |hit_rate, prediction_bias| RunMetrics { hit_rate, prediction_bias, ..RunMetrics::default() };
        let value = serde_json::to_value(Runs(vec![run(0.123_456_78, None), run(0.5, Some(-0.25))]))?;
        assert_eq!(json!([0.12346, 0.5]), value["hit_rate"]);
        assert_eq!(json!([null, -0.25]), value["prediction_bias"]);
        let Runs(read) = serde_json::from_value(value)?;
        assert_eq!(vec![run(0.12346, None), run(0.5, Some(-0.25))], read);
        Ok(())
    }

    #[test]
    fn columns_of_different_lengths_are_refused() {
        let mut value =
            serde_json::to_value(Runs(vec![RunMetrics::default()])).expect("metrics are serializable");
        value["hit_rate"] = json!([0.5, 0.5]);
        assert!(serde_json::from_value::<Runs>(value).is_err());
    }
}
