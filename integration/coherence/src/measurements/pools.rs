//! Measures what pools cost: many small ones against a large one with as many endpoints.

use std::fmt::Write;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, ensure};
use futures_util::future::try_join_all;
use signalbox_integration::{Client, Ports, Service, TestDir, eventually};

use crate::harness::gateway::GatewayClient;
use crate::harness::load_generator::{LoadGenerator, RequestEnd};
use crate::harness::machine_load::MachineLoadProbe;
use crate::harness::metrics_pages::MetricsPages;
use crate::harness::procfs::{CpuUsage, resident_bytes};
use crate::harness::prompts::body;
use crate::report::{GoalStatus, Section};

const ENDPOINTS: usize = 1_000;

/// The numbers of pools that share the endpoints.
const LAYOUTS: [usize; 2] = [1, 100];

/// Less often than by default, which would leave no CPU time for the rest. Scrapes cost about the same whatever
/// pool an endpoint is in, so the ratios depend on it: the rarer they are, the more the pools themselves count.
const SCRAPE_INTERVAL: Duration = Duration::from_millis(250);

/// Long enough that no endpoint becomes stale between two scrapes on a busy machine.
const STALE_AFTER: &str = "30s";

const SETTLE_TIME: Duration = Duration::from_secs(5);
const IDLE_DURATION: Duration = Duration::from_secs(20);
const LOAD: LoadGenerator = LoadGenerator {
    per_second: 200.0,
    duration: Duration::from_secs(20),
    end: RequestEnd::After(Duration::from_millis(300)),
};

/// Number of prompts that are sent again and again, and their blocks.
const PROMPTS: u64 = 200;
const BLOCKS: usize = 64;

/// How often the cost of one large pool many small pools may have.
const GOAL: f64 = 2.0;

const MEBIBYTE: f64 = (1 << 20) as f64;

/// Runs the measurement.
///
/// # Errors
/// Fails when the processes do not behave as expected.
pub(crate) async fn measure() -> anyhow::Result<Section> {
    let probe = MachineLoadProbe::start()?;
    let [one, many] = [measure_layout(LAYOUTS[0]).await?, measure_layout(LAYOUTS[1]).await?];
    let mut section = Section::new("Pools");
    let kinds: [CostPart; 3] = [
        ("CPU time without requests, ms per second", |cost| cost.idle_ms),
        ("CPU time with 200 requests per second, ms per second", |cost| cost.busy_ms),
        ("memory, MiB", |cost| cost.memory),
    ];
    for (kind, value) in kinds {
        let sums = [&one, &many].map(|costs| costs.iter().map(|(_, cost)| value(cost)).sum::<f64>());
        let each = one
            .iter()
            .zip(&many)
            .map(|((name, one), (_, many))| format!("{name} {:.1} and {:.1}", value(one), value(many)));
        section.add(format!("{kind}: 1 pool and 100 pools"), each.collect::<Vec<_>>().join("; "));
        let ratio = sums[1] / sums[0];
        section.add_with_goal(
            format!("{kind}, together: 100 pools ÷ 1 pool"),
            format!("{:.1} ÷ {:.1} = {ratio:.2}", sums[1], sums[0]),
            &format!("≤ {GOAL}"),
            GoalStatus::at_most(ratio, GOAL),
        );
    }
    section.note(format!(
        "One aggregator, one collector and one replica with {ENDPOINTS} endpoints, each scraped every {SCRAPE_INTERVAL:?}, in 1 and \
         in 100 pools. {}.",
        probe.end()?
    ));
    Ok(section)
}

/// A part of the cost, with its name and unit.
type CostPart = (&'static str, fn(&Cost) -> f64);

/// What one process costs.
#[derive(Clone, Copy, Debug)]
struct Cost {
    /// CPU time without requests, in milliseconds per second.
    idle_ms: f64,
    /// CPU time with requests, in milliseconds per second.
    busy_ms: f64,
    /// Memory after that, in MiB.
    memory: f64,
}

/// One aggregator, one collector and one replica, and the endpoints.
struct Deployment {
    services: [Service; 3],
    /// Where the replica serves each pool.
    gateways: Vec<SocketAddr>,
    client: Client,
    _pages: MetricsPages,
    _scratch: TestDir,
}

/// Measures the endpoints in this number of pools. Returns the cost of each process by name.
async fn measure_layout(pools: usize) -> anyhow::Result<Vec<(String, Cost)>> {
    let deployment = Deployment::start(pools).await?;
    let gateways = try_join_all(deployment.gateways.iter().map(|at| GatewayClient::connect(*at))).await?;
    tokio::time::sleep(SETTLE_TIME).await;
    let before = deployment.cpu()?;
    tokio::time::sleep(IDLE_DURATION).await;
    let idle = deployment.cpu()?;
    LOAD.run(&gateways, |number| body(number % PROMPTS, BLOCKS, 0, 0)).await?;
    let busy = deployment.cpu()?;
    let ms = |after: CpuUsage, before: CpuUsage, time: Duration| {
        after.running_time_since(before).as_secs_f64() * 1e3 / time.as_secs_f64()
    };
    let mut costs = Vec::new();
    for (index, service) in deployment.services.iter().enumerate() {
        let cost = Cost {
            idle_ms: ms(idle[index], before[index], IDLE_DURATION),
            busy_ms: ms(busy[index], idle[index], LOAD.duration),
            memory: resident_bytes(service.id()?)? as f64 / MEBIBYTE,
        };
        costs.push((service.name().to_owned(), cost));
    }
    Ok(costs)
}

impl Deployment {
    async fn start(pools: usize) -> anyhow::Result<Self> {
        let (scratch, client, mut ports) = (TestDir::new()?, Client::new(), Ports::new());
        let pages = MetricsPages::start().await?;
        let (mut files, mut gateways) = (Vec::new(), Vec::new());
        for pool in 0..pools {
            let at = ports.take()?;
            files.push(write_pool(&scratch, pool, at.port(), ENDPOINTS / pools, &pages)?);
            gateways.push(at);
        }
        let listen = ports.take()?;
        let mut aggregator = Service::aggregator("aggregator", (listen, listen), ports.take()?, &files[0]);
        aggregator.flag("--stale-after", STALE_AFTER);
        files[1..].iter().for_each(|file| aggregator.flag("--endpoints", &file.display().to_string()));
        let mut collector = Service::collector("collector", ports.take()?, SCRAPE_INTERVAL);
        let addresses = [ports.take()?, ports.take()?, ports.take()?];
        let mut replica = Service::replica("epp", addresses, ports.take()?);
        aggregator.start(&scratch).await?;
        for service in [&mut collector, &mut replica] {
            service.flag("--aggregator", &listen.to_string());
            service.switch("--all-pools");
            service.start(&scratch).await?;
        }
        let services = [aggregator, collector, replica];
        let deployment = Self { services, gateways, client, _pages: pages, _scratch: scratch };
        deployment.wait_until_fresh().await?;
        Ok(deployment)
    }

    /// Waits until the replica has fresh values of all endpoints.
    async fn wait_until_fresh(&self) -> anyhow::Result<()> {
        let [.., replica] = &self.services;
        let check = async || {
            let page = self.client.metrics(&replica.metrics().to_string()).await?;
            let fresh = page.sum("signalbox_epp_fresh_endpoints").context("no endpoints")?;
            ensure!(fresh as usize == ENDPOINTS, "{fresh} endpoints are fresh");
            Ok(())
        };
        eventually("the replica has fresh values of all endpoints", check).await
    }

    fn cpu(&self) -> anyhow::Result<Vec<CpuUsage>> {
        self.services.iter().map(|service| CpuUsage::of_process(service.id()?)).collect()
    }
}

/// Writes the endpoints file of the pool with this number, which replicas serve on `port`.
fn write_pool(
    scratch: &TestDir,
    pool: usize,
    port: u16,
    endpoints: usize,
    pages: &MetricsPages,
) -> anyhow::Result<PathBuf> {
    let mut text = format!(
        "apiVersion: signalbox/v1\nkind: Endpoints\npool: {{ name: pool-{pool}, port: {port} }}\nendpoints:\n"
    );
    for index in 0..endpoints {
        let address = pages.address(pool * endpoints + index);
        writeln!(text, "- {{ name: pod-{pool}-{index}, address: {address} }}")?;
    }
    let path = scratch.path().join(format!("pool-{pool}.yaml"));
    fs::write(&path, text)?;
    Ok(path)
}
