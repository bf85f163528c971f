//! The metrics of pools, as the metrics API has them.

use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use signalbox_metrics_api::{IsSelected, Metrics, NoReading, Reading};
use signalbox_signal::{Group, Metric, Unavailable};
use signalbox_types::PoolId;

use crate::query::{DEPLOYMENT, NoNumber, ROLE, number};
use crate::signals::Signals;

static NAMES: LazyLock<Vec<&'static str>> = LazyLock::new(|| Metric::ALL.map(Metric::name).to_vec());

/// The metrics of the pools in these signals.
pub(super) struct PoolMetrics<'a, S>(pub(super) &'a S);

impl<S: Signals> Metrics for PoolMetrics<'_, S> {
    fn names(&self) -> &[&'static str] {
        &NAMES
    }

    fn pools(&self, namespace: &str) -> Vec<PoolId> {
        self.0.pools(namespace)
    }

    fn read(&self, pool: &PoolId, metric: &str, is_selected: IsSelected<'_>) -> Result<Reading, NoReading> {
        let metric: Metric = metric.parse().map_err(NoReading::Selection)?;
        // The pool may have gone since it was listed.
        let latest = self.0.latest(pool).unwrap_or_default();
        let selects =
            |group: &Group| is_selected(&[(ROLE, group.role.name()), (DEPLOYMENT, &group.deployment)]);
        let milli = number(&latest, metric, selects).map_err(no_reading)?;
        let age_ms = latest.signal.as_ref().map_or(0, |signal| signal.age_ms(latest.now_ms));
        let assessed = SystemTime::now() - Duration::from_millis(age_ms);
        Ok(Reading {
            value: milli as f64 / 1000.0,
            timestamp: humantime::format_rfc3339_seconds(assessed).to_string(),
        })
    }
}

fn no_reading(why: NoNumber) -> NoReading {
    match why {
        NoNumber::Ambiguous(text) => NoReading::Selection(text),
        NoNumber::Unavailable(why @ Unavailable::NoSuchGroup) => NoReading::Selection(why.to_string()),
        NoNumber::Unavailable(why) => NoReading::Unavailable(why.to_string()),
    }
}
