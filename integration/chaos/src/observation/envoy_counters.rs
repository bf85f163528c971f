//! Counters of Envoy's outer listener: what became of the attempts that it sent to the inner one.

use anyhow::Context;

use super::observer::Observer;

const RETRIES: &str = "cluster.picking.upstream_rq_retry";
const SERVED: &str = "cluster.picking.upstream_rq_200";
const UNAVAILABLE: &str = "cluster.picking.upstream_rq_503";

/// Counters since Envoy started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EnvoyCounters {
    pub(crate) retries: u64,
    /// Attempts that got status 200, and 503. Envoy has a counter for each status once it has occurred.
    served: u64,
    unavailable: u64,
}

impl EnvoyCounters {
    /// Reads the counters.
    ///
    /// # Errors
    /// Fails when Envoy does not respond, or does not count.
    pub(crate) async fn read(observer: &Observer) -> anyhow::Result<Self> {
        let value = async |name| observer.envoy.statistic(&observer.client, name).await;
        let retries = value(RETRIES).await?.with_context(|| format!("Envoy has no statistic {RETRIES}"))?;
        let (served, unavailable) = (value(SERVED).await?, value(UNAVAILABLE).await?);
        Ok(Self { retries, served: served.unwrap_or(0), unavailable: unavailable.unwrap_or(0) })
    }

    /// Returns what is wrong with the attempts since `before`.
    pub(crate) fn problem_since(&self, before: &Self) -> Option<String> {
        let unavailable = self.unavailable - before.unavailable;
        if self.served == before.served {
            return Some(format!("{SERVED} did not grow, so that no {UNAVAILABLE} says nothing"));
        }
        (unavailable > 0).then(|| format!("{unavailable} attempts got status 503"))
    }
}

#[cfg(test)]
mod tests {
    use super::EnvoyCounters;

    #[test]
    fn absence_of_503_needs_a_count_of_200() {
        let before = EnvoyCounters { retries: 0, served: 5, unavailable: 1 };
        let after = |served, unavailable| EnvoyCounters { retries: 0, served, unavailable };
        assert_eq!(after(6, 1).problem_since(&before), None);
        assert!(after(5, 1).problem_since(&before).unwrap().contains("did not grow"));
        assert_eq!(after(6, 3).problem_since(&before).unwrap(), "2 attempts got status 503");
    }
}
