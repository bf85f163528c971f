//! The whole line: etcd, aggregators, collectors, EPP replicas, Envoy, model servers, with proxies where it can be cut.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use futures_util::future::try_join_all;
use signalbox_integration::{Client, Envoy, Etcd, Fleet, Ports, Scratch, Service};
use tokio::sync::watch;

use crate::cast::{Cast, Who};
use crate::gateway::{Ears, configuration};
use crate::member::Member;
use crate::proxy::{Cuts, Proxy};
use crate::rows::Mode;
use crate::script::Blow;
use crate::watch::Eyes;

const AGGREGATORS: usize = 3;
const COLLECTORS: usize = 2;
const REPLICAS: usize = 3;

/// A collector reads so many pods a second at most: the machine has more to do.
const READINGS_PER_SECOND: usize = 160;

/// All processes, in the order in which they are killed at the end.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) eyes: Eyes,
    members: Vec<Member>,
    etcd: Etcd,
    pub(crate) pods: Fleet,
    _proxies: Vec<Proxy>,
    pub(crate) cuts: watch::Sender<Cuts>,
    pub(crate) scratch: Arc<Scratch>,
}

impl Line {
    /// Starts everything.
    ///
    /// # Errors
    /// When something does not get ready.
    pub(crate) async fn start(scratch: Arc<Scratch>, mode: Mode, pods: usize) -> anyhow::Result<Self> {
        let client = Client::new();
        let mut ports = Ports::new();
        let (cuts, _) = watch::channel(Cuts::default());
        let pods = Fleet::start(&scratch, pods, &[]).await?;
        let etcd = Etcd::start(&scratch, &client).await?;
        let mut proxies = vec![Proxy::start(Who::Etcd, etcd.address(), cuts.subscribe()).await?];
        let coordinator = format!("etcd://{}", proxies[0].address());
        let mut members = Vec::new();
        for index in 0..AGGREGATORS {
            let (who, listen) = (Who::Aggregator(index), ports.take()?);
            let proxy = Proxy::start(who, listen, cuts.subscribe()).await?;
            members.push(aggregator(who, listen, proxy.address(), ports.take()?, &pods));
            proxies.push(proxy);
        }
        for index in 0..COLLECTORS {
            members.push(collector(Who::Collector(index), ports.take()?, pods.count()));
        }
        let mut ears = Vec::new();
        for index in 0..REPLICAS {
            let heard = Ears { ext_proc: ports.take()?, health: ports.take()?, access_log: ports.take()? };
            ears.push(heard);
            members.push(replica(Who::Replica(index), heard, ports.take()?));
        }
        for member in &mut members {
            member.service.flag("--coordinator", &coordinator);
        }
        try_join_all(members.iter_mut().map(|member| member.service.start(&scratch))).await?;
        let config = configuration(&ears, ports.take()?.port(), mode);
        let envoy = Arc::new(Envoy::configured(&scratch, &client, &config).await?);
        let looked_at = |wanted: fn(Who) -> bool| -> Vec<SocketAddr> {
            let wanted = members.iter().filter(|member| wanted(member.who));
            wanted.map(|member| member.service.metrics()).collect()
        };
        let eyes = Eyes {
            client,
            envoy,
            replicas: looked_at(|who| matches!(who, Who::Replica(_))),
            aggregators: looked_at(|who| matches!(who, Who::Aggregator(_))),
        };
        Ok(Self { eyes, members, etcd, pods, _proxies: proxies, cuts, scratch })
    }

    /// Who plays which part while `owner` owns the pool.
    pub(crate) fn cast(owner: usize) -> Cast {
        Cast { aggregators: AGGREGATORS, replicas: REPLICAS, collectors: COLLECTORS, owner }
    }

    /// Does this to all of them at the same time.
    ///
    /// # Errors
    /// When one does not run, or does not end.
    pub(crate) async fn strike(&mut self, blow: Blow, whom: &[Who]) -> anyhow::Result<()> {
        if whom.contains(&Who::Etcd) {
            self.etcd.stop().await?;
        }
        let struck = self.members.iter_mut().filter(|member| whom.contains(&member.who));
        try_join_all(struck.map(|member| member.take(blow))).await?;
        Ok(())
    }

    /// Starts them again, at the same time.
    ///
    /// # Errors
    /// When one does not get ready.
    pub(crate) async fn start_again(&mut self, whom: &[Who]) -> anyhow::Result<()> {
        let scratch = &self.scratch;
        if whom.contains(&Who::Etcd) {
            self.etcd.start_again(scratch, &self.eyes.client).await.context("etcd starts again")?;
        }
        let ended = self.members.iter_mut().filter(|member| whom.contains(&member.who));
        try_join_all(ended.map(|member| member.service.start(scratch))).await?;
        Ok(())
    }
}

fn aggregator(
    who: Who,
    listen: SocketAddr,
    reached: SocketAddr,
    metrics: SocketAddr,
    pods: &Fleet,
) -> Member {
    Member { who, service: Service::aggregator(&who.to_string(), (listen, reached), metrics, pods.file()) }
}

fn collector(who: Who, metrics: SocketAddr, pods: usize) -> Member {
    let interval_ms = (1_000 * pods / READINGS_PER_SECOND).max(50);
    let interval = Duration::from_millis(interval_ms as u64);
    Member { who, service: Service::collector(&who.to_string(), metrics, interval) }
}

fn replica(who: Who, ears: Ears, metrics: SocketAddr) -> Member {
    let Ears { ext_proc, health, access_log } = ears;
    Member { who, service: Service::replica(&who.to_string(), [ext_proc, health, access_log], metrics) }
}
