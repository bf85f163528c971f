//! What all processes say of themselves at one moment, and whether that is as it should be.

use std::collections::BTreeMap;

use anyhow::{Context, bail, ensure};
use signalbox_integration::Page;

use crate::cast::Who;

/// Bookings beyond it are a number below zero that was wrapped.
const ABSURD: f64 = 1e6;

/// A version and what the state at it adds up to, by kind of change.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Standing {
    pub(crate) epoch: f64,
    pub(crate) seq: f64,
    pub(crate) digests: BTreeMap<String, f64>,
}

/// What an EPP replica says.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Replica {
    pub(crate) standing: Standing,
    pub(crate) degraded: f64,
    pub(crate) own: f64,
    pub(crate) others: f64,
    pub(crate) overlay: f64,
    pub(crate) fresh_pods: f64,
    /// Since it started.
    pub(crate) snapshots: f64,
    /// Since it started.
    pub(crate) divergences: f64,
}

/// What an aggregator says.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Aggregator {
    pub(crate) standing: Standing,
    pub(crate) owns: f64,
    pub(crate) in_flight: f64,
}

/// All of them, in order; `None` does not answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Reading {
    pub(crate) replicas: Vec<Option<Replica>>,
    pub(crate) aggregators: Vec<Option<Aggregator>>,
    /// Replicas that Envoy takes for healthy.
    pub(crate) gateway_sees: usize,
}

impl Replica {
    pub(crate) fn of(page: &Page) -> Self {
        let value = |name: &str| page.sum(&format!("signalbox_epp_{name}")).unwrap_or(0.0);
        let digests = page.by_label("signalbox_epp_view_digest", "kind");
        Self {
            standing: Standing { epoch: value("view_epoch"), seq: value("view_seq"), digests },
            degraded: value("degraded"),
            own: value("own_in_flight_requests"),
            others: value("others_in_flight_requests"),
            overlay: value("overlay_placements"),
            fresh_pods: value("fresh_endpoints"),
            snapshots: value("snapshots_total"),
            divergences: value("divergences_total"),
        }
    }
}

impl Aggregator {
    pub(crate) fn of(page: &Page) -> Self {
        let value = |name: &str| page.sum(&format!("signalbox_aggregator_{name}")).unwrap_or(0.0);
        let digests = page.by_label("signalbox_aggregator_digest", "kind");
        Self {
            standing: Standing { epoch: value("epoch"), seq: value("seq"), digests },
            owns: value("owner"),
            in_flight: value("in_flight_requests"),
        }
    }
}

impl Reading {
    /// The aggregator that owns the pool.
    ///
    /// # Errors
    /// When there is not exactly one.
    pub(crate) fn owner(&self) -> anyhow::Result<usize> {
        let owners = self.aggregators.iter().enumerate();
        let owners: Vec<usize> = owners
            .filter(|(_, aggregator)| aggregator.as_ref().is_some_and(|aggregator| aggregator.owns > 0.0))
            .map(|(index, _)| index)
            .collect();
        let [owner] = owners[..] else { bail!("the pool's owners are {owners:?}") };
        Ok(owner)
    }

    /// Whether everybody is there, follows one owner, and sees all pods.
    ///
    /// # Errors
    /// What is missing.
    pub(crate) fn healthy(&self, pods: usize) -> anyhow::Result<()> {
        for (index, aggregator) in self.aggregators.iter().enumerate() {
            ensure!(aggregator.is_some(), "{} does not answer", Who::Aggregator(index));
        }
        let owner = self.owner()?;
        let epoch = self.aggregators[owner].as_ref().map_or(0.0, |owner| owner.standing.epoch);
        for (index, replica) in self.replicas.iter().enumerate() {
            let who = Who::Replica(index);
            let replica = replica.as_ref().with_context(|| format!("{who} does not answer"))?;
            let Replica { degraded, fresh_pods, standing, .. } = replica;
            ensure!(*degraded == 0.0, "{who} is degraded");
            ensure!(standing.epoch == epoch, "{who} is at epoch {}, the owner at {epoch}", standing.epoch);
            ensure!(*fresh_pods == pods as f64, "{who} has fresh values of {fresh_pods} of {pods} pods");
        }
        let (seen, all) = (self.gateway_sees, self.replicas.len());
        ensure!(seen == all, "Envoy takes {seen} of {all} replicas for healthy");
        Ok(())
    }

    /// Whether nothing is booked any more and everybody holds the same.
    ///
    /// # Errors
    /// What is left, or differs.
    pub(crate) fn at_rest(&self) -> anyhow::Result<()> {
        for (who, replica) in self.replicas() {
            let Replica { own, others, overlay, .. } = replica;
            ensure!(
                *own == 0.0 && *others == 0.0,
                "{who} has {own} bookings of its own and {others} of others"
            );
            ensure!(*overlay == 0.0, "{who} waits for {overlay} placements to be echoed");
        }
        for (who, aggregator) in self.aggregators() {
            ensure!(aggregator.in_flight == 0.0, "{who} has {} bookings", aggregator.in_flight);
        }
        let mut standings = self.standings();
        let (first, expected) = standings.next().context("nobody answers")?;
        ensure!(!expected.digests.is_empty(), "{first} shows no digests");
        for (who, standing) in standings {
            ensure!(standing == expected, "{who} holds {standing:?}, {first} {expected:?}");
        }
        Ok(())
    }

    /// Numbers of bookings that cannot be, and states that differ at one version.
    pub(crate) fn impossible(&self) -> Vec<String> {
        let diverged = self.replicas().filter(|(_, replica)| replica.divergences > 0.0);
        let diverged =
            diverged.map(|(who, _)| format!("{who} held something else than the owner at one version"));
        let replicas = self.replicas().flat_map(|(who, replica)| [(who, replica.own), (who, replica.others)]);
        let aggregators = self.aggregators().map(|(who, aggregator)| (who, aggregator.in_flight));
        let wrong = replicas.chain(aggregators).filter(|(_, bookings)| !(0.0..ABSURD).contains(bookings));
        wrong.map(|(who, bookings)| format!("{who} had {bookings} bookings")).chain(diverged).collect()
    }

    /// Snapshots that replicas took after `before`; of those that were started again meanwhile, beyond as many as they had taken.
    pub(crate) fn snapshots_since(&self, before: &Self) -> u64 {
        let pairs = self.replicas.iter().flatten().zip(before.replicas.iter().flatten());
        pairs.map(|(now, then)| (now.snapshots - then.snapshots).max(0.0) as u64).sum()
    }

    fn replicas(&self) -> impl Iterator<Item = (Who, &Replica)> {
        let replicas = self.replicas.iter().enumerate();
        replicas.filter_map(|(index, replica)| Some((Who::Replica(index), replica.as_ref()?)))
    }

    fn aggregators(&self) -> impl Iterator<Item = (Who, &Aggregator)> {
        let aggregators = self.aggregators.iter().enumerate();
        aggregators.filter_map(|(index, aggregator)| Some((Who::Aggregator(index), aggregator.as_ref()?)))
    }

    fn standings(&self) -> impl Iterator<Item = (Who, &Standing)> {
        let aggregators = self.aggregators().map(|(who, aggregator)| (who, &aggregator.standing));
        aggregators.chain(self.replicas().map(|(who, replica)| (who, &replica.standing)))
    }
}

#[cfg(test)]
mod tests {
    use super::{Aggregator, Reading, Replica, Standing};

    fn good() -> Reading {
        let standing =
            Standing { epoch: 7.0, seq: 9.0, digests: [("load".to_owned(), 5.0)].into_iter().collect() };
        let replica = Replica { standing: standing.clone(), fresh_pods: 8.0, ..Replica::default() };
        let standby = Aggregator { standing, ..Aggregator::default() };
        let owner = Aggregator { owns: 1.0, ..standby.clone() };
        Reading {
            replicas: vec![Some(replica.clone()), Some(replica)],
            aggregators: vec![Some(standby), Some(owner)],
            gateway_sees: 2,
        }
    }

    fn replica(change: impl Fn(&mut Replica)) -> Reading {
        let mut reading = good();
        reading.replicas[1].iter_mut().for_each(change);
        reading
    }

    #[test]
    fn what_is_well_is_found_to_be() {
        good().healthy(8).unwrap();
        good().at_rest().unwrap();
        assert_eq!((good().owner().unwrap(), good().impossible().len()), (1, 0));
    }

    #[test]
    fn what_is_not_healthy_is_said() {
        let mut two = good();
        two.aggregators[0] = two.aggregators[1].clone();
        let mut away = good();
        away.replicas[0] = None;
        let unseen = Reading { gateway_sees: 1, ..good() };
        let sick = [
            (two, "owners"),
            (away, "epp-0 does not answer"),
            (unseen, "Envoy"),
            (replica(|replica| replica.degraded = 1.0), "degraded"),
            (replica(|replica| replica.standing.epoch = 6.0), "epoch 6"),
            (replica(|replica| replica.fresh_pods = 7.0), "7 of 8"),
        ];
        for (reading, said) in sick {
            let error = reading.healthy(8).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn what_is_left_or_differs_is_said() {
        let restless = [
            (replica(|replica| replica.own = 1.0), "1 bookings of its own"),
            (replica(|replica| replica.overlay = 1.0), "echoed"),
            (replica(|replica| replica.standing.seq = 8.0), "epp-1 holds"),
            (replica(|replica| replica.standing.digests.clear()), "epp-1 holds"),
        ];
        for (reading, said) in restless {
            let error = reading.at_rest().unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
        for bookings in [-1.0, 1.8e19] {
            assert_eq!(replica(|replica| replica.others = bookings).impossible().len(), 1);
        }
        assert_eq!(replica(|replica| replica.divergences = 1.0).impossible().len(), 1);
    }
}
