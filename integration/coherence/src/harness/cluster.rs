//! The processes under test.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use futures_util::future::try_join_all;
use signalbox_integration::{Client, Etcd, Fleet, MetricsPage, Ports, Service, TestDir, eventually};

use super::counting_proxy::CountingProxy;
use super::gateway::GatewayClient;

/// Total scrapes per second of all collectors; limited to leave CPU time for the rest.
const SCRAPES_PER_SECOND: usize = 160;

/// The number of processes of each kind.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClusterLayout {
    pub(crate) pods: usize,
    /// KV cache capacity of a pod.
    pub(crate) kv_capacity_tokens: u64,
    /// Several aggregators use etcd; the address of a single one is passed to the other processes.
    pub(crate) aggregators: usize,
    pub(crate) collectors: usize,
    pub(crate) replicas: usize,
}

/// An EPP replica.
#[derive(Debug)]
pub(crate) struct Replica {
    pub(crate) service: Service,
    pub(crate) ext_proc: SocketAddr,
    /// Proxy between the replica and the aggregator, if there is only one aggregator.
    pub(crate) aggregator_proxy: Option<CountingProxy>,
}

/// All processes, in the order in which they are killed at the end.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) replicas: Vec<Replica>,
    pub(crate) collectors: Vec<Service>,
    pub(crate) aggregators: Vec<Service>,
    /// Addresses on which the aggregators listen.
    pub(crate) addresses: Vec<SocketAddr>,
    etcd: Option<Etcd>,
    pub(crate) fleet: Fleet,
    pub(crate) client: Client,
    ports: Ports,
    pub(crate) scratch: Arc<TestDir>,
    /// Flags of each replica, with their values.
    replica_flags: ReplicaFlags,
}

type ReplicaFlags = &'static [(&'static str, &'static str)];
type AggregatorFlags = Vec<(&'static str, String)>;

impl Cluster {
    /// Starts all processes and waits until each replica has fresh values of each pod.
    ///
    /// # Errors
    /// Fails when that does not happen; then the logs are kept.
    pub(crate) async fn start(layout: ClusterLayout) -> anyhow::Result<Self> {
        Self::start_with(layout, &[]).await
    }

    /// Like [`Self::start`], with these flags of each replica.
    ///
    /// # Errors
    /// Fails like [`Self::start`].
    pub(crate) async fn start_with(
        layout: ClusterLayout,
        replica_flags: ReplicaFlags,
    ) -> anyhow::Result<Self> {
        Self::start_flagged(layout, replica_flags, Vec::new()).await
    }

    /// Like [`Self::start`], with these flags of each aggregator.
    ///
    /// # Errors
    /// Fails like [`Self::start`].
    pub(crate) async fn start_with_aggregator_flags(
        layout: ClusterLayout,
        aggregator_flags: AggregatorFlags,
    ) -> anyhow::Result<Self> {
        Self::start_flagged(layout, &[], aggregator_flags).await
    }

    async fn start_flagged(
        layout: ClusterLayout,
        replica_flags: ReplicaFlags,
        aggregator_flags: AggregatorFlags,
    ) -> anyhow::Result<Self> {
        let scratch = Arc::new(TestDir::new()?);
        let started = Self::assemble(Arc::clone(&scratch), layout, replica_flags, &aggregator_flags).await;
        started.map_err(|error| {
            scratch.keep();
            error.context(format!("see the logs in {}", scratch.path().display()))
        })
    }

    async fn assemble(
        scratch: Arc<TestDir>,
        layout: ClusterLayout,
        replica_flags: ReplicaFlags,
        aggregator_flags: &AggregatorFlags,
    ) -> anyhow::Result<Self> {
        let (client, mut ports) = (Client::new(), Ports::new());
        let capacity = layout.kv_capacity_tokens.to_string();
        let fleet = Fleet::start(&scratch, layout.pods, &["--kv-capacity-tokens", &capacity]).await?;
        let etcd = if layout.aggregators > 1 { Some(Etcd::start(&scratch, &client).await?) } else { None };
        let (mut aggregators, mut addresses) = (Vec::new(), Vec::new());
        for index in 0..layout.aggregators {
            let (name, listen) = (format!("aggregator-{index}"), ports.take()?);
            let mut aggregator = Service::aggregator(&name, (listen, listen), ports.take()?, fleet.file());
            aggregator_flags.iter().for_each(|(name, value)| aggregator.flag(name, value));
            aggregators.push(aggregator);
            addresses.push(listen);
        }
        let interval_ms = (1_000 * layout.pods / SCRAPES_PER_SECOND).max(50);
        let mut collectors = Vec::new();
        for index in 0..layout.collectors {
            let interval = Duration::from_millis(interval_ms as u64);
            collectors.push(Service::collector(&format!("collector-{index}"), ports.take()?, interval));
        }
        for service in aggregators.iter_mut().chain(&mut collectors) {
            if let Some(etcd) = &etcd {
                service.flag("--coordinator", &etcd.url());
            }
        }
        if etcd.is_none() {
            collectors.iter_mut().for_each(|one| one.flag("--aggregator", &addresses[0].to_string()));
        }
        let services = aggregators.iter_mut().chain(&mut collectors);
        try_join_all(services.map(|service| service.start(&scratch))).await?;
        let replicas = Vec::new();
        let mut cluster = Self {
            replicas,
            collectors,
            aggregators,
            addresses,
            etcd,
            fleet,
            client,
            ports,
            scratch,
            replica_flags,
        };
        for _ in 0..layout.replicas {
            let mut replica = cluster.new_replica().await?;
            replica.service.start(&cluster.scratch).await?;
            cluster.replicas.push(replica);
        }
        cluster.wait_until_fresh(layout.pods).await?;
        Ok(cluster)
    }

    /// Creates a further replica without starting it.
    ///
    /// # Errors
    /// Fails when no port is free.
    pub(crate) async fn new_replica(&mut self) -> anyhow::Result<Replica> {
        let (ext_proc, health, access_log) = (self.ports.take()?, self.ports.take()?, self.ports.take()?);
        let name = format!("epp-{}", self.replicas.len());
        let mut service = Service::replica(&name, [ext_proc, health, access_log], self.ports.take()?);
        self.replica_flags.iter().for_each(|(name, value)| service.flag(name, value));
        let aggregator_proxy = match &self.etcd {
            Some(etcd) => {
                service.flag("--coordinator", &etcd.url());
                None
            }
            None => {
                let proxy = CountingProxy::start(self.addresses[0]).await?;
                service.flag("--aggregator", &proxy.address().to_string());
                Some(proxy)
            }
        };
        Ok(Replica { service, ext_proc, aggregator_proxy })
    }

    /// Connects to each replica.
    ///
    /// # Errors
    /// Fails when a replica does not listen.
    pub(crate) async fn gateways(&self) -> anyhow::Result<Vec<GatewayClient>> {
        try_join_all(self.replicas.iter().map(|replica| GatewayClient::connect(replica.ext_proc))).await
    }

    /// Fetches the metrics page of a service.
    ///
    /// # Errors
    /// Fails when the service does not respond.
    pub(crate) async fn metrics(&self, service: &Service) -> anyhow::Result<MetricsPage> {
        self.client.metrics(&service.metrics().to_string()).await
    }

    /// Waits until each replica has fresh values of exactly `pods` pods.
    ///
    /// # Errors
    /// Fails when that does not happen in time.
    pub(crate) async fn wait_until_fresh(&self, pods: usize) -> anyhow::Result<()> {
        let check = async || {
            for replica in &self.replicas {
                let page = self.metrics(&replica.service).await?;
                let value = |name| page.sum(&format!("signalbox_epp_{name}")).unwrap_or(0.0) as usize;
                let (all, fresh) = (value("endpoints"), value("fresh_endpoints"));
                ensure!(all == pods && fresh == pods, "{fresh} of {all} pods are fresh");
            }
            Ok(())
        };
        eventually("replicas have fresh values of all pods", check).await
    }

    /// Returns the index of the aggregator that owns the pool.
    ///
    /// # Errors
    /// Fails when none does within a minute.
    pub(crate) async fn owner(&self) -> anyhow::Result<usize> {
        let check = async || {
            for (index, aggregator) in self.aggregators.iter().enumerate() {
                if self.metrics(aggregator).await?.sum("signalbox_aggregator_owner") == Some(1.0) {
                    return Ok(index);
                }
            }
            None.context("no aggregator owns the pool")
        };
        eventually("an aggregator owns the pool", check).await
    }
}
