//! Checks that the endpoints of a collector move to the others when it is gone.

use anyhow::{Context, ensure};

use super::cluster_status::ClusterStatus;
use super::found::Found;
use super::history::History;
use crate::process_id::ProcessId;

impl ClusterStatus {
    /// Checks that each of these collectors scrapes endpoints, and the others do not scrape all: a later
    /// [`ClusterStatus::check_moved`] then shows a move.
    ///
    /// # Errors
    /// Fails with the first violation, or the first value that is not known.
    pub(crate) fn check_shared(&self, collectors: &[ProcessId], pods: usize) -> anyhow::Result<()> {
        for (index, collector) in self.collectors.iter().enumerate() {
            let id = ProcessId::Collector(index);
            if collectors.contains(&id) {
                ensure!(collector.require(id)?.endpoints > Some(0.0), "{id} scrapes no endpoint");
            }
        }
        let scraped = self.endpoints_outside(collectors)?;
        ensure!(
            scraped < pods as f64,
            "the other collectors already scrape {scraped} endpoints of {pods} pods"
        );
        Ok(())
    }

    /// Checks that the collectors that are not among `collectors` scrape all endpoints.
    ///
    /// # Errors
    /// Fails when they do not, or with the first value that is not known.
    pub(crate) fn check_moved(&self, collectors: &[ProcessId], pods: usize) -> anyhow::Result<()> {
        let scraped = self.endpoints_outside(collectors)?;
        ensure!(scraped == pods as f64, "the other collectors scrape {scraped} endpoints of {pods} pods");
        Ok(())
    }

    /// Returns how many endpoints the collectors that are not among `collectors` scrape.
    ///
    /// # Errors
    /// Fails when it is not known of one of them.
    fn endpoints_outside(&self, collectors: &[ProcessId]) -> anyhow::Result<f64> {
        let mut scraped = 0.0;
        for (index, collector) in self.collectors.iter().enumerate() {
            let id = ProcessId::Collector(index);
            if !collectors.contains(&id) {
                let endpoints = collector.require(id)?.endpoints;
                scraped += endpoints.with_context(|| format!("{id} has no assignment"))?;
            }
        }
        Ok(scraped)
    }
}

/// Checks that the endpoints of the collectors that the fault `hit` moved to the others while it lasted, and that
/// from then on, or all the time, all values stayed fresh.
pub(super) fn check_endpoints_moved(
    history: &History,
    hit: &[ProcessId],
    pods: usize,
    always_fresh: bool,
) -> Found {
    let all = pods as f64;
    let before: Vec<f64> = history.before().filter_map(|status| status.endpoints_outside(hit).ok()).collect();
    if before.is_empty() {
        return Err("nothing is known of the other collectors before the fault".to_owned());
    }
    if before.iter().any(|scraped| *scraped >= all) {
        return Err("the target scraped no endpoint before the fault".to_owned());
    }
    let mut has_moved = false;
    for status in history.during() {
        has_moved |= status.check_moved(hit, pods).is_ok();
        let mut replicas = status.known_replicas().filter(|(_, replica)| replica.fresh_pods < all);
        let stale = replicas.next().filter(|_| always_fresh || has_moved);
        if let Some((index, replica)) = stale {
            return Err(format!(
                "{} had fresh values of only {} pods although another collector can scrape all",
                ProcessId::Replica(index),
                replica.fresh_pods
            ));
        }
    }
    if !has_moved {
        return Err(format!("the other collectors never scraped all {all} endpoints"));
    }
    Ok("all endpoints moved to the other collector and stayed fresh".to_owned())
}

#[cfg(test)]
pub(super) mod tests {
    use super::check_endpoints_moved;
    use crate::observation::cluster_status::ClusterStatus;
    use crate::observation::cluster_status::tests::good;
    use crate::observation::found::Found;
    use crate::observation::history::tests::history;
    use crate::observation::process_status::CollectorStatus;
    use crate::observation::reading::Reading;
    use crate::process_id::ProcessId;

    const HIT: &[ProcessId] = &[ProcessId::Collector(0)];

    /// Returns [`good`] with these endpoints of each collector, and this many fresh pods at each replica.
    pub(crate) fn with_endpoints(of_each: [Option<f64>; 2], fresh: f64) -> ClusterStatus {
        let mut status = good();
        for replica in &mut status.replicas {
            if let Reading::Known(replica) = replica {
                replica.fresh_pods = fresh;
            }
        }
        status.collectors = of_each.map(|endpoints| Reading::Known(CollectorStatus { endpoints })).to_vec();
        status
    }

    /// Checks a fault with these statuses before it and while it lasts.
    fn check(before: ClusterStatus, during: &[ClusterStatus], always_fresh: bool) -> Found {
        let statuses = [before].into_iter().chain(during.iter().cloned()).chain([good()]);
        check_endpoints_moved(&history(statuses), HIT, 8, always_fresh)
    }

    #[test]
    fn endpoints_must_move_and_stay_fresh() {
        let moved = || with_endpoints([None, Some(8.0)], 8.0);
        let stale = || with_endpoints([None, Some(8.0)], 7.0);
        let stale_before = || with_endpoints([None, Some(4.0)], 7.0);
        assert!(check(good(), &[moved()], true).is_ok());
        assert!(check(good(), &[stale_before(), moved()], false).is_ok());
        let why = |during: &[ClusterStatus], always_fresh| check(good(), during, always_fresh).unwrap_err();
        assert!(why(&[stale_before(), moved()], true).contains("fresh values of only 7"));
        assert!(why(&[stale(), moved()], false).contains("fresh values of only 7"));
        assert!(why(&[good()], true).contains("never scraped all"));
        assert!(check(moved(), &[moved()], true).unwrap_err().contains("no endpoint before"));
    }

    #[test]
    fn unknown_collector_shows_no_move() {
        let mut unknown = good();
        unknown.collectors[1] = Reading::Silent;
        let moved = with_endpoints([None, Some(8.0)], 8.0);
        assert!(check(unknown.clone(), &[moved], true).unwrap_err().contains("nothing is known"));
        assert!(unknown.check_shared(HIT, 8).is_err() && unknown.check_moved(HIT, 8).is_err());
        assert!(with_endpoints([Some(4.0), None], 8.0).check_shared(HIT, 8).is_err());
    }

    #[test]
    fn move_begins_with_endpoints_at_the_target_and_fewer_elsewhere() {
        let shared = |of_each| with_endpoints(of_each, 8.0).check_shared(HIT, 8);
        shared([Some(4.0), Some(4.0)]).unwrap();
        for of_each in [[Some(0.0), Some(4.0)], [None, Some(4.0)], [Some(4.0), Some(8.0)]] {
            shared(of_each).unwrap_err();
        }
        let moved = |of_each| with_endpoints(of_each, 8.0).check_moved(HIT, 8);
        moved([None, Some(8.0)]).unwrap();
        moved([Some(4.0), Some(4.0)]).unwrap_err();
    }
}
