//! Runs a complete deployment: etcd, aggregators, collectors, EPP replicas, Envoy and model servers, with TCP
//! proxies that can cut connections.

mod connection_owner;
mod gateway;
mod proxy;
mod service_process;
mod traffic;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use futures_util::future::try_join_all;
use signalbox_integration::{Client, Envoy, Etcd, Fleet, Ports, Service, TIER_OBJECTIVES, TestDir};
use tokio::sync::watch;

pub(crate) use self::proxy::Cuts;
pub(crate) use self::traffic::{PairTraffic, TrafficCounts};

use self::gateway::{ReplicaAddresses, envoy_config};
use self::proxy::Proxy;
use self::service_process::ServiceProcess;
use self::traffic::Traffic;
use crate::observation::Observer;
use crate::process_id::ProcessId;
use crate::scenario::{Action, Mode, Topology};

const AGGREGATORS: usize = 3;
const COLLECTORS: usize = 2;
const REPLICAS: usize = 3;

/// How many pods one collector scrapes per second at most, because the machine has little CPU to spare.
const SCRAPES_PER_SECOND: usize = 160;

/// How fast all pods together process prompts, in tokens per second, besides the fixed time of each pass; and the tokens of a pass of
/// all of them. With both, a pod with its share of the streams processes about as many tokens per second as a replica expects of
/// a pod that it has not measured: in request-only mode, it measures none. The load asks for 130 % of it.
const PREFILL_TOKENS_PER_SECOND: usize = 96_000;
const PASS_TOKENS: usize = 2_048;

/// All processes of a chaos test. They are killed in the order of the fields.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) observer: Observer,
    services: Vec<ServiceProcess>,
    etcd: Etcd,
    pub(crate) pods: Fleet,
    _proxies: Vec<Proxy>,
    pub(crate) cuts: watch::Sender<Cuts>,
    traffic: Arc<Traffic>,
    /// How many requests were sent so far.
    pub(crate) requests: u64,
    pub(crate) dir: Arc<TestDir>,
}

impl Cluster {
    /// Starts all processes.
    ///
    /// # Errors
    /// Fails when a process does not become ready.
    pub(crate) async fn start(dir: Arc<TestDir>, mode: Mode, pods: usize) -> anyhow::Result<Self> {
        let client = Client::new();
        let mut ports = Ports::new();
        let (cuts, _) = watch::channel(Cuts::default());
        let traffic = Arc::new(Traffic::default());
        let mut pods = start_pods(&dir, pods).await?;
        pods.add_documents(&dir, TIER_OBJECTIVES)?;
        let etcd = Etcd::start(&dir, &client).await?;
        let proxy = async |id, target| Proxy::start(id, target, cuts.subscribe(), Arc::clone(&traffic)).await;
        let mut proxies = vec![proxy(ProcessId::Etcd, etcd.address()).await?];
        let coordinator = format!("etcd://{}", proxies[0].address());
        let mut services = Vec::new();
        for index in 0..AGGREGATORS {
            let (id, listen) = (ProcessId::Aggregator(index), ports.take()?);
            let proxy = proxy(id, listen).await?;
            services.push(aggregator(id, listen, proxy.address(), ports.take()?, &pods));
            proxies.push(proxy);
        }
        for index in 0..COLLECTORS {
            services.push(collector(ProcessId::Collector(index), ports.take()?, pods.count()));
        }
        let mut replicas = Vec::new();
        for index in 0..REPLICAS {
            let addresses = ReplicaAddresses {
                ext_proc: ports.take()?,
                health: ports.take()?,
                access_log: ports.take()?,
            };
            replicas.push(addresses);
            services.push(replica(ProcessId::Replica(index), addresses, ports.take()?));
        }
        for process in &mut services {
            process.service.flag("--coordinator", &coordinator);
        }
        try_join_all(services.iter_mut().map(|process| process.service.start(&dir))).await?;
        let config = envoy_config(&replicas, ports.take()?.port(), mode);
        let envoy = Arc::new(Envoy::configured(&dir, &client, &config).await?);
        let metrics = |is_wanted: fn(ProcessId) -> bool| -> Vec<SocketAddr> {
            let wanted = services.iter().filter(|process| is_wanted(process.id));
            wanted.map(|process| process.service.metrics()).collect()
        };
        let observer = Observer {
            client,
            envoy,
            replicas: metrics(|id| matches!(id, ProcessId::Replica(_))),
            aggregators: metrics(|id| matches!(id, ProcessId::Aggregator(_))),
            collectors: metrics(|id| matches!(id, ProcessId::Collector(_))),
            ext_proc: replicas.iter().map(|addresses| addresses.ext_proc).collect(),
            pod: pods.pods().first().context("there are no pods")?.1.clone(),
        };
        Ok(Self { observer, services, etcd, pods, _proxies: proxies, cuts, traffic, requests: 0, dir })
    }

    /// Returns what the proxies did so far.
    pub(crate) fn traffic(&self) -> TrafficCounts {
        self.traffic.counts()
    }

    /// Returns the topology while `owner` owns the pool.
    pub(crate) fn topology(owner: usize) -> Topology {
        Topology { aggregators: AGGREGATORS, replicas: REPLICAS, collectors: COLLECTORS, owner }
    }

    /// Applies an action to these processes at the same time.
    ///
    /// # Errors
    /// Fails when a process is not running, or does not exit.
    pub(crate) async fn apply(&mut self, action: Action, targets: &[ProcessId]) -> anyhow::Result<()> {
        if targets.contains(&ProcessId::Etcd) {
            self.etcd.stop().await?;
        }
        let targets = self.services.iter_mut().filter(|process| targets.contains(&process.id));
        try_join_all(targets.map(|process| process.apply(action))).await?;
        Ok(())
    }

    /// Starts these processes again at the same time.
    ///
    /// # Errors
    /// Fails when a process does not become ready.
    pub(crate) async fn restart(&mut self, targets: &[ProcessId]) -> anyhow::Result<()> {
        let dir = &self.dir;
        if targets.contains(&ProcessId::Etcd) {
            self.etcd.restart(dir, &self.observer.client).await.context("cannot restart etcd")?;
        }
        let targets = self.services.iter_mut().filter(|process| targets.contains(&process.id));
        try_join_all(targets.map(|process| process.service.start(dir))).await?;
        Ok(())
    }
}

/// Starts pods that are as fast together, however many there are.
async fn start_pods(dir: &TestDir, count: usize) -> anyhow::Result<Fleet> {
    let (speed, pass) = ((PREFILL_TOKENS_PER_SECOND / count).to_string(), (PASS_TOKENS / count).to_string());
    // A pass has a token for each running request.
    let flags =
        ["--prefill-tokens-per-second", &speed, "--pass-budget-tokens", &pass, "--max-running", &pass];
    Fleet::start(dir, count, &flags).await
}

fn aggregator(
    id: ProcessId,
    listen: SocketAddr,
    advertised: SocketAddr,
    metrics: SocketAddr,
    pods: &Fleet,
) -> ServiceProcess {
    let service = Service::aggregator(&id.to_string(), (listen, advertised), metrics, pods.file());
    ServiceProcess { id, service }
}

fn collector(id: ProcessId, metrics: SocketAddr, pods: usize) -> ServiceProcess {
    let interval_ms = (1_000 * pods / SCRAPES_PER_SECOND).max(50);
    let interval = Duration::from_millis(interval_ms as u64);
    ServiceProcess { id, service: Service::collector(&id.to_string(), metrics, interval) }
}

fn replica(id: ProcessId, addresses: ReplicaAddresses, metrics: SocketAddr) -> ServiceProcess {
    let ReplicaAddresses { ext_proc, health, access_log } = addresses;
    ServiceProcess { id, service: Service::replica(&id.to_string(), [ext_proc, health, access_log], metrics) }
}
