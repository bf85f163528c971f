//! Looking at all processes, once or all the time.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::{join, join_all, join3};
use signalbox_integration::{Client, Envoy, Page};
use tokio::task::JoinHandle;

use crate::reading::{Aggregator, Reading, Replica};

/// Who does not answer in time is taken for away.
const ANSWER_WITHIN: Duration = Duration::from_millis(500);

/// Time between two looks for something awaited.
const SHORT_PAUSE: Duration = Duration::from_millis(20);

/// Time between two looks at everybody.
const PAUSE: Duration = Duration::from_millis(200);

/// Where to look.
#[derive(Clone, Debug)]
pub(crate) struct Eyes {
    pub(crate) client: Client,
    pub(crate) envoy: Arc<Envoy>,
    pub(crate) replicas: Vec<SocketAddr>,
    pub(crate) aggregators: Vec<SocketAddr>,
}

impl Eyes {
    /// Looks at everybody.
    pub(crate) async fn look(&self) -> Reading {
        let (replicas, aggregators, seen) = join3(
            self.replicas(),
            join_all(self.aggregators.iter().map(|address| self.page(*address))),
            self.envoy.healthy(&self.client),
        )
        .await;
        let aggregators = aggregators.iter().map(|page| page.as_ref().map(Aggregator::of));
        Reading { replicas, aggregators: aggregators.collect(), gateway_sees: seen.unwrap_or(0) }
    }

    async fn replicas(&self) -> Vec<Option<Replica>> {
        let pages = join_all(self.replicas.iter().map(|address| self.page(*address))).await;
        pages.iter().map(|page| page.as_ref().map(Replica::of)).collect()
    }

    async fn page(&self, address: SocketAddr) -> Option<Page> {
        let address = address.to_string();
        tokio::time::timeout(ANSWER_WITHIN, self.client.metrics(&address)).await.ok()?.ok()
    }

    /// Looks until `condition` holds, and says when it did.
    ///
    /// # Errors
    /// What it said last, when it does not hold in time.
    pub(crate) async fn until(
        &self,
        within: Duration,
        condition: impl Fn(&Reading) -> anyhow::Result<()>,
    ) -> anyhow::Result<Instant> {
        let begun = Instant::now();
        loop {
            match condition(&self.look().await) {
                Ok(()) => return Ok(Instant::now()),
                Err(error) if begun.elapsed() > within => return Err(error),
                Err(_) => tokio::time::sleep(SHORT_PAUSE).await,
            }
        }
    }
}

/// What was seen while a row was played.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Sightings {
    /// From the first blow until all replicas that answer follow an owner of a higher epoch.
    pub(crate) failover: Option<Duration>,
    /// Bookings that cannot be.
    pub(crate) impossible: Vec<String>,
    /// The most aggregators that owned the pool at once.
    pub(crate) owners: usize,
    /// The most replicas that were degraded at once.
    pub(crate) degraded: usize,
    /// The most replicas that Envoy did not take for healthy at once.
    pub(crate) unhealthy: usize,
    /// The fewest pods of which some replica had fresh values; `None` before the first look.
    pub(crate) fewest_pods: Option<f64>,
}

impl Sightings {
    fn add(&mut self, reading: &Reading) {
        let replicas = || reading.replicas.iter().flatten();
        let owners = reading.aggregators.iter().flatten().filter(|aggregator| aggregator.owns > 0.0);
        self.impossible.extend(reading.impossible());
        self.owners = self.owners.max(owners.count());
        self.degraded = self.degraded.max(replicas().filter(|replica| replica.degraded > 0.0).count());
        self.unhealthy = self.unhealthy.max(reading.replicas.len().saturating_sub(reading.gateway_sees));
        let pods = replicas().map(|replica| replica.fresh_pods).chain(self.fewest_pods);
        self.fewest_pods = pods.reduce(f64::min);
    }
}

/// Looks on until it is ended.
#[derive(Debug)]
pub(crate) struct Watch {
    sightings: Arc<Mutex<Sightings>>,
    looking: JoinHandle<()>,
}

impl Watch {
    /// Begins; the owner's epoch is `epoch` until now.
    pub(crate) fn start(eyes: Eyes, epoch: f64) -> Self {
        let sightings = Arc::new(Mutex::new(Sightings::default()));
        let seen = Arc::clone(&sightings);
        let looking = tokio::spawn(async move {
            join(see_failover(&eyes, epoch, &seen), see_all(&eyes, &seen)).await;
        });
        Self { sightings, looking }
    }

    /// Ends it.
    pub(crate) fn end(self) -> Sightings {
        self.looking.abort();
        self.sightings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn see_failover(eyes: &Eyes, epoch: f64, seen: &Mutex<Sightings>) {
    let begun = Instant::now();
    loop {
        let replicas: Vec<Replica> = eyes.replicas().await.into_iter().flatten().collect();
        if !replicas.is_empty() && replicas.iter().all(|replica| replica.standing.epoch > epoch) {
            seen.lock().unwrap_or_else(PoisonError::into_inner).failover = Some(begun.elapsed());
            return;
        }
        tokio::time::sleep(SHORT_PAUSE).await;
    }
}

async fn see_all(eyes: &Eyes, seen: &Mutex<Sightings>) {
    loop {
        let reading = eyes.look().await;
        seen.lock().unwrap_or_else(PoisonError::into_inner).add(&reading);
        tokio::time::sleep(PAUSE).await;
    }
}
