//! Measures whether memory stays constant while pods and prompts change.

use std::time::{Duration, Instant};

use signalbox_integration::write_endpoints;

use crate::harness::cluster::{Cluster, ClusterLayout};
use crate::harness::gateway::GatewayClient;
use crate::harness::load_generator::{LoadGenerator, RequestEnd};
use crate::harness::machine_load::MachineLoadProbe;
use crate::harness::procfs::resident_bytes;
use crate::harness::prompts::body;
use crate::report::{GoalStatus, Section};
use crate::statistics::linear_regression;

/// The caches fill up within a minute and the owner's journal within minutes. From then on new entries
/// replace old ones.
const LAYOUT: ClusterLayout =
    ClusterLayout { pods: 40, kv_capacity_tokens: 65_536, aggregators: 2, collectors: 2, replicas: 3 };

const LOAD: LoadGenerator = LoadGenerator {
    per_second: 100.0,
    duration: Duration::ZERO,
    end: RequestEnd::After(Duration::from_secs(2)),
};

/// Number of concurrent conversations, which are replaced after REQUESTS_PER_CONVERSATION requests each.
const CONVERSATIONS: u64 = 300;
const REQUESTS_PER_CONVERSATION: u64 = 100;
const KNOWN_BLOCKS: usize = 32;
const NEW_BLOCKS: usize = 24;

/// Number of pods that are not listed. The selection changes at each interval.
const UNLISTED_PODS: usize = 8;
const CHURN_INTERVAL: Duration = Duration::from_secs(10);

const SAMPLE_INTERVAL: Duration = Duration::from_secs(2);

/// Maximum growth per hour as a share of the memory.
const MAX_GROWTH_SHARE_PER_HOUR: f64 = 0.1;

const MEBIBYTE: f64 = (1 << 20) as f64;

/// Runs the measurement for `duration`.
///
/// # Errors
/// Fails when the processes do not behave as expected.
pub(crate) async fn measure(duration: Duration) -> anyhow::Result<Section> {
    let cluster = Cluster::start(LAYOUT).await?;
    let gateways = cluster.gateways().await?;
    let probe = MachineLoadProbe::start()?;
    let load = LoadGenerator { duration, ..LOAD };
    let (requests, churned, memories) =
        tokio::join!(requests(load, &gateways), churn(&cluster, duration), sample(&cluster, duration));
    let (requests, churned, memories) = (requests?, churned?, memories?);
    let mut section = Section::new("Memory");
    section.add(
        "duration; requests; changes of the listed pods",
        format!("{} s, {requests}, {churned}", duration.as_secs()),
    );
    for memory in memories {
        let (slope, allowed) = (memory.slope_per_hour(), memory.last() * MAX_GROWTH_SHARE_PER_HOUR);
        let (first, middle, last) = (memory.first(), memory.middle(), memory.last());
        let measured = format!("{first:.1} → {middle:.1} → {last:.1} MiB, {slope:+.1} MiB/h");
        let goal = format!("≤ {allowed:.1} MiB/h");
        section.add_with_goal(memory.name, measured, &goal, GoalStatus::at_most(slope, allowed));
    }
    section.note(
        "Resident memory of each process at the start, half way and at the end. The slope is a least-squares fit over the \
         second half. The goal is a slope that would double the memory in ten hours or more.",
    );
    section.note(format!("{}.", probe.end()?));
    Ok(section)
}

async fn requests(load: LoadGenerator, gateways: &[GatewayClient]) -> anyhow::Result<usize> {
    let bodies = |number: u64| {
        let conversation =
            number / (CONVERSATIONS * REQUESTS_PER_CONVERSATION) * CONVERSATIONS + number % CONVERSATIONS;
        body(conversation, KNOWN_BLOCKS, number, NEW_BLOCKS)
    };
    Ok(load.run(gateways, bodies).await?.requests)
}

/// Changes the listed pods periodically; returns the number of changes.
async fn churn(cluster: &Cluster, duration: Duration) -> anyhow::Result<usize> {
    let (start, mut rounds) = (Instant::now(), 0);
    let pods = cluster.fleet.pods();
    while start.elapsed() + CHURN_INTERVAL < duration {
        tokio::time::sleep(CHURN_INTERVAL).await;
        rounds += 1;
        let first_unlisted = rounds * UNLISTED_PODS % pods.len();
        let listed = pods
            .iter()
            .enumerate()
            .filter(|(at, _)| (at + pods.len() - first_unlisted) % pods.len() >= UNLISTED_PODS);
        write_endpoints(
            &cluster.scratch,
            listed.map(|(_, (name, address))| (name.as_str(), address.as_str())),
        )?;
    }
    Ok(rounds)
}

/// Memory of a process over time: hours and MiB.
#[derive(Clone, Debug)]
struct Memory {
    name: String,
    process: u32,
    samples: Vec<(f64, f64)>,
}

impl Memory {
    fn first(&self) -> f64 {
        self.samples.first().map_or(0.0, |sample| sample.1)
    }

    fn middle(&self) -> f64 {
        self.samples.get(self.samples.len() / 2).map_or(0.0, |sample| sample.1)
    }

    fn last(&self) -> f64 {
        self.samples.last().map_or(0.0, |sample| sample.1)
    }

    /// Returns the slope over the second half in MiB per hour.
    fn slope_per_hour(&self) -> f64 {
        linear_regression(&self.samples[self.samples.len() / 2..]).1
    }
}

async fn sample(cluster: &Cluster, duration: Duration) -> anyhow::Result<Vec<Memory>> {
    let replicas = cluster.replicas.iter().map(|replica| &replica.service);
    let services = cluster.aggregators.iter().chain(&cluster.collectors).chain(replicas);
    let memories = services.map(|service| {
        anyhow::Ok(Memory { name: service.name().to_owned(), process: service.id()?, samples: Vec::new() })
    });
    let mut memories = memories.collect::<Result<Vec<_>, _>>()?;
    let start = Instant::now();
    while start.elapsed() < duration {
        for memory in &mut memories {
            let hours = start.elapsed().as_secs_f64() / 3_600.0;
            memory.samples.push((hours, resident_bytes(memory.process)? as f64 / MEBIBYTE));
        }
        tokio::time::sleep(SAMPLE_INTERVAL).await;
    }
    Ok(memories)
}

#[cfg(test)]
mod tests {
    use super::Memory;

    #[test]
    fn slope_covers_only_the_second_half() {
        let samples = [(0.0, 10.0), (0.25, 90.0), (0.5, 100.0), (0.75, 100.5), (1.0, 101.0)];
        let memory = Memory { name: "epp-0".to_owned(), process: 1, samples: samples.to_vec() };
        assert!((memory.slope_per_hour() - 2.0).abs() < 1e-9);
        assert_eq!((memory.first() as u32, memory.middle() as u32, memory.last() as u32), (10, 100, 101));
    }
}
