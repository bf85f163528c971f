//! The processes that are measured.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use futures_util::future::try_join_all;
use signalbox_integration::{Client, Etcd, Fleet, Page, Ports, Scratch, Service, eventually};

use crate::caller::Caller;
use crate::counting::CountingProxy;

/// Collectors read so many pods a second: the machine has more to do.
const READINGS_PER_SECOND: usize = 160;

/// How many there are of each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    pub(crate) pods: usize,
    /// Tokens that the KV cache of a pod holds.
    pub(crate) kv_capacity_tokens: u64,
    /// More than one find each other through etcd; one alone is told to everybody.
    pub(crate) aggregators: usize,
    pub(crate) collectors: usize,
    pub(crate) replicas: usize,
}

/// An EPP replica.
#[derive(Debug)]
pub(crate) struct Replica {
    pub(crate) service: Service,
    pub(crate) ext_proc: SocketAddr,
    /// Between it and the aggregator, where there is only one.
    pub(crate) link: Option<CountingProxy>,
}

/// All processes, in the order in which they are killed at the end.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) replicas: Vec<Replica>,
    pub(crate) collectors: Vec<Service>,
    pub(crate) aggregators: Vec<Service>,
    /// Where the aggregators listen.
    pub(crate) addresses: Vec<SocketAddr>,
    etcd: Option<Etcd>,
    pub(crate) fleet: Fleet,
    pub(crate) client: Client,
    ports: Ports,
    pub(crate) scratch: Arc<Scratch>,
}

impl Line {
    /// Starts everything, and waits until each replica has fresh values of each pod.
    ///
    /// # Errors
    /// When that does not come to pass; then the logs are kept.
    pub(crate) async fn start(layout: Layout) -> anyhow::Result<Self> {
        let scratch = Arc::new(Scratch::new()?);
        let started = Self::assemble(Arc::clone(&scratch), layout).await;
        started.map_err(|error| {
            scratch.keep();
            error.context(format!("logs are in {}", scratch.path().display()))
        })
    }

    async fn assemble(scratch: Arc<Scratch>, layout: Layout) -> anyhow::Result<Self> {
        let (client, mut ports) = (Client::new(), Ports::new());
        let capacity = layout.kv_capacity_tokens.to_string();
        let fleet = Fleet::start(&scratch, layout.pods, &["--kv-capacity-tokens", &capacity]).await?;
        let etcd = if layout.aggregators > 1 { Some(Etcd::start(&scratch, &client).await?) } else { None };
        let (mut aggregators, mut addresses) = (Vec::new(), Vec::new());
        for index in 0..layout.aggregators {
            let (name, listen) = (format!("aggregator-{index}"), ports.take()?);
            aggregators.push(Service::aggregator(&name, (listen, listen), ports.take()?, fleet.file()));
            addresses.push(listen);
        }
        let interval_ms = (1_000 * layout.pods / READINGS_PER_SECOND).max(50);
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
        let mut line =
            Self { replicas, collectors, aggregators, addresses, etcd, fleet, client, ports, scratch };
        for _ in 0..layout.replicas {
            let mut replica = line.replica().await?;
            replica.service.start(&line.scratch).await?;
            line.replicas.push(replica);
        }
        line.until_fresh(layout.pods).await?;
        Ok(line)
    }

    /// One more, which does not run yet.
    ///
    /// # Errors
    /// When no port is free.
    pub(crate) async fn replica(&mut self) -> anyhow::Result<Replica> {
        let (ext_proc, health, access_log) = (self.ports.take()?, self.ports.take()?, self.ports.take()?);
        let name = format!("epp-{}", self.replicas.len());
        let mut service = Service::replica(&name, [ext_proc, health, access_log], self.ports.take()?);
        let link = match &self.etcd {
            Some(etcd) => {
                service.flag("--coordinator", &etcd.url());
                None
            }
            None => {
                let link = CountingProxy::start(self.addresses[0]).await?;
                service.flag("--aggregator", &link.address().to_string());
                Some(link)
            }
        };
        Ok(Replica { service, ext_proc, link })
    }

    /// A connection to each replica.
    ///
    /// # Errors
    /// When one does not listen.
    pub(crate) async fn callers(&self) -> anyhow::Result<Vec<Caller>> {
        try_join_all(self.replicas.iter().map(|replica| Caller::connect(replica.ext_proc))).await
    }

    /// What a service shows.
    ///
    /// # Errors
    /// When it does not answer.
    pub(crate) async fn page(&self, service: &Service) -> anyhow::Result<Page> {
        self.client.metrics(&service.metrics().to_string()).await
    }

    /// Waits until each replica has fresh values of so many pods, and knows no others.
    ///
    /// # Errors
    /// When that does not come to pass.
    pub(crate) async fn until_fresh(&self, pods: usize) -> anyhow::Result<()> {
        let check = async || {
            for replica in &self.replicas {
                let page = self.page(&replica.service).await?;
                let value = |name| page.sum(&format!("signalbox_epp_{name}")).unwrap_or(0.0) as usize;
                let (all, fresh) = (value("endpoints"), value("fresh_endpoints"));
                ensure!(all == pods && fresh == pods, "{fresh} of {all} pods are fresh");
            }
            Ok(())
        };
        eventually("replicas have fresh values of all pods", check).await
    }

    /// Which aggregator owns the pool.
    ///
    /// # Errors
    /// When none does within a minute.
    pub(crate) async fn owner(&self) -> anyhow::Result<usize> {
        let check = async || {
            for (index, aggregator) in self.aggregators.iter().enumerate() {
                if self.page(aggregator).await?.sum("signalbox_aggregator_owner") == Some(1.0) {
                    return Ok(index);
                }
            }
            None.context("nobody owns the pool")
        };
        eventually("an aggregator owns the pool", check).await
    }
}
