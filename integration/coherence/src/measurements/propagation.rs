//! Measures the time until other replicas know of a booking.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use signalbox_integration::eventually;
use signalbox_types::{EndpointKey, Origin};

use super::booking_delays::delays_ms;
use super::propagation_report::{Round, section};
use crate::harness::cluster::{Cluster, ClusterLayout};
use crate::harness::follower::{Observation, ObservedChange, PoolFollower};
use crate::harness::gateway::{BookedRequest, GatewayClient, finish_all};
use crate::harness::load_generator::{LoadGenerator, RequestEnd};
use crate::harness::machine_load::MachineLoadProbe;
use crate::harness::procfs::CpuUsage;
use crate::harness::prompts::body;
use crate::report::Section;

pub(super) const LAYOUT: ClusterLayout =
    ClusterLayout { pods: 16, kv_capacity_tokens: 524_288, aggregators: 1, collectors: 1, replicas: 2 };

/// Rates to try, in requests per second, until the machine is half busy.
const RATES: [f64; 8] = [100.0, 200.0, 400.0, 800.0, 1_200.0, 1_600.0, 2_000.0, 2_500.0];

/// Minimum idle share of the machine.
const IDLE_SHARE: f64 = 0.5;

const TRIAL_DURATION: Duration = Duration::from_secs(3);
const ROUND_DURATION: Duration = Duration::from_secs(10);
const ROUNDS: usize = 5;
const MAX_ROUNDS: usize = 10;

/// Time after which missing observations count as lost.
const SETTLE_TIME: Duration = Duration::from_millis(500);

/// Number of conversations. Each request continues one of them with one block of its own.
const CONVERSATIONS: u64 = 200;
const KNOWN_BLOCKS: usize = 16;

/// Runs the measurement.
///
/// # Errors
/// Fails when the processes do not behave as expected.
pub(crate) async fn measure() -> anyhow::Result<Section> {
    let mut setup = Setup::start(Cluster::start(LAYOUT).await?).await?;
    let per_second = setup.find_rate().await?;
    let mut rounds: Vec<Round> = Vec::new();
    let undisturbed = |rounds: &[Round]| rounds.iter().filter(|round| round.is_undisturbed()).count();
    while undisturbed(&rounds) < ROUNDS && rounds.len() < MAX_ROUNDS {
        rounds.push(setup.run_round(per_second, ROUND_DURATION).await?);
    }
    Ok(section(per_second, ROUND_DURATION, &rounds))
}

/// The cluster and its observers.
pub(super) struct Setup {
    cluster: Cluster,
    gateways: Vec<GatewayClient>,
    follower: PoolFollower,
    /// Origin of each replica.
    origins: Vec<Origin>,
    endpoints: BTreeMap<SocketAddr, EndpointKey>,
    rounds: u64,
}

impl Setup {
    /// Observes a cluster of [`LAYOUT`].
    pub(super) async fn start(cluster: Cluster) -> anyhow::Result<Self> {
        let gateways = cluster.gateways().await?;
        let mut follower = PoolFollower::follow(&cluster.addresses);
        let check = async || {
            let state = follower.state();
            let endpoints = state.replica().state_replica().pool_state().endpoints();
            let endpoints: BTreeMap<_, _> =
                endpoints.map(|member| (member.spec.address, member.key)).collect();
            ensure!(endpoints.len() == LAYOUT.pods, "{} endpoints are known", endpoints.len());
            Ok(endpoints)
        };
        let endpoints = eventually("this process follows the pool", check).await?;
        let mut origins = Vec::new();
        for gateway in &gateways {
            origins.push(origin_of(gateway, &mut follower).await?);
        }
        Ok(Self { cluster, gateways, follower, origins, endpoints, rounds: 0 })
    }

    /// Returns the highest rate at which the machine is idle enough.
    async fn find_rate(&mut self) -> anyhow::Result<f64> {
        let mut found = RATES[0];
        for per_second in RATES {
            if self.run_round(per_second, TRIAL_DURATION).await?.machine_load.idle_share < IDLE_SHARE {
                break;
            }
            found = per_second;
        }
        Ok(found)
    }

    /// Runs one round. Its requests stay open until the end of the round, so that gauges only grow.
    pub(super) async fn run_round(&mut self, per_second: f64, time: Duration) -> anyhow::Result<Round> {
        self.follower.drain();
        self.rounds += 1;
        let (first, load) =
            (self.rounds << 24, LoadGenerator { per_second, duration: time, end: RequestEnd::HoldOpen });
        let cpu_before = self.cpu_usage()?;
        let probe = MachineLoadProbe::start()?;
        let bodies = |number| body(number % CONVERSATIONS, KNOWN_BLOCKS, first + number, 1);
        let ages = view_ages(&self.cluster, time);
        let (result, ages_ms) = tokio::join!(load.run(&self.gateways, bodies), ages);
        let (result, machine_load) = (result?, probe.end()?);
        let after = self.cpu_usage()?;
        tokio::time::sleep(SETTLE_TIME).await;
        let delays_ms = self.delays_ms(&result.open)?;
        finish_all(result.open.into_iter().map(|(_, booked)| booked)).await?;
        let check = async || {
            let in_flight = self.follower.in_flight();
            ensure!(in_flight == 0, "{in_flight} requests are still booked");
            Ok(())
        };
        eventually("bookings end", check).await?;
        Ok(Round {
            bookings: result.requests,
            delays_ms,
            ages_ms: ages_ms?,
            owner_us_each: after.0.running_time_since(cpu_before.0).as_secs_f64() * 1e6
                / result.requests as f64,
            owner_wait_ms: after.0.mean_wait_ms_since(cpu_before.0),
            replica_wait_ms: after.1.mean_wait_ms_since(cpu_before.1),
            machine_load,
        })
    }

    /// Returns the CPU usage of the owner and of one replica.
    fn cpu_usage(&self) -> anyhow::Result<(CpuUsage, CpuUsage)> {
        let replica = self.cluster.replicas[0].service.id()?;
        Ok((CpuUsage::of_process(self.cluster.aggregators[0].id()?)?, CpuUsage::of_process(replica)?))
    }

    fn delays_ms(&mut self, open: &[(usize, BookedRequest)]) -> anyhow::Result<Vec<f64>> {
        let mut routed: BTreeMap<(Origin, EndpointKey), Vec<Instant>> = BTreeMap::new();
        for (gateway, booked) in open {
            let endpoint =
                self.endpoints.get(&booked.endpoint).context("the replica picked an unknown endpoint")?;
            routed.entry((self.origins[*gateway], *endpoint)).or_default().push(booked.routed_at);
        }
        delays_ms(routed, &self.follower.drain())
    }
}

/// Finds the origin of a replica by means of a single booking.
async fn origin_of(gateway: &GatewayClient, follower: &mut PoolFollower) -> anyhow::Result<Origin> {
    let booked = gateway.route(body(0, KNOWN_BLOCKS, 0, 1)).await?;
    let wanted = |observation: Observation| match observation.change {
        ObservedChange::LoadChanged { origin, requests: 1, .. } => Some(origin),
        _ => None,
    };
    let found = follower.wait(Duration::from_secs(5), wanted).await?;
    booked.finish().await?;
    let has_ended = |observation: Observation| {
        matches!(observation.change, ObservedChange::LoadChanged { requests: 0, .. }).then_some(())
    };
    follower.wait(Duration::from_secs(5), has_ended).await?;
    Ok(found)
}

/// Samples the view age that the last replica reports, for the given time.
async fn view_ages(cluster: &Cluster, time: Duration) -> anyhow::Result<Vec<f64>> {
    let (start, mut ages_ms) = (Instant::now(), Vec::new());
    let replica = &cluster.replicas.last().context("the cluster has no replicas")?.service;
    while start.elapsed() < time {
        let age = cluster.metrics(replica).await?.sum("signalbox_epp_view_age_seconds");
        ages_ms.push(age.context("the replica does not report the age of its view")? * 1e3);
        tokio::time::sleep(Duration::from_millis(97)).await;
    }
    Ok(ages_ms)
}
