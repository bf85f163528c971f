//! Tests that processes whose leases are gone, but which work, go on with their streams.

use std::fs;
use std::time::Duration;

use anyhow::{Context, ensure};
use signalbox_integration::{Client, Etcd, Fleet, Ports, Service, TestDir, eventually, write_pool};

const SCRAPE_INTERVAL: Duration = Duration::from_millis(50);

/// Log lines about streams that ended.
const STREAM_ENDS: [&str; 4] =
    ["follower disconnected", "no stream to the aggregator", "a collector is silent", "a replica is silent"];

/// An etcd, two aggregators with one pool, a collector and a replica.
struct Scene {
    dir: TestDir,
    client: Client,
    etcd: Etcd,
    aggregators: [Service; 2],
    collector: Service,
    replica: Service,
    _fleet: Fleet,
}

impl Scene {
    async fn start() -> anyhow::Result<Self> {
        let (dir, client, mut ports) = (TestDir::new()?, Client::new(), Ports::new());
        let etcd = Etcd::start(&dir, &client).await?;
        let fleet = Fleet::start(&dir, 2, &[]).await?;
        let pods = fleet.pods().iter().map(|(name, address)| (name.as_str(), address.as_str()));
        let file = write_pool(&dir, "chat", pods)?;
        let mut aggregator = |name: &str| {
            let at = ports.take()?;
            anyhow::Ok(Service::aggregator(name, (at, at), ports.take()?, &file))
        };
        let mut aggregators = [aggregator("one")?, aggregator("other")?];
        let mut collector = Service::collector("collector", ports.take()?, SCRAPE_INTERVAL);
        let listen = [ports.take()?, ports.take()?, ports.take()?];
        let mut replica = Service::replica("epp", listen, ports.take()?);
        for service in aggregators.iter_mut().chain([&mut collector, &mut replica]) {
            service.flag("--coordinator", &etcd.url());
            service.start(&dir).await?;
        }
        Ok(Self { dir, client, etcd, aggregators, collector, replica, _fleet: fleet })
    }

    /// Returns the only owner's name and epoch, if the replica follows it, has the values of all pods, and both
    /// aggregators follow each other.
    async fn owner(&self) -> anyhow::Result<(String, f64)> {
        let mut owners = Vec::new();
        for aggregator in &self.aggregators {
            let page = self.client.metrics(&aggregator.metrics().to_string()).await?;
            let value =
                |name: &str| page.sum(&format!("signalbox_aggregator_{name}")).context(name.to_owned());
            let followers = value("connected_followers")?;
            ensure!(followers == 2.0, "{followers} followers");
            if value("owner")? == 1.0 {
                owners.push((aggregator.name().to_owned(), value("epoch")?));
            }
        }
        let [owner] = &owners[..] else { anyhow::bail!("{owners:?}") };
        let page = self.client.metrics(&self.replica.metrics().to_string()).await?;
        let value = |name: &str| page.sum(&format!("signalbox_epp_{name}")).context(name.to_owned());
        let view = (value("view_epoch")?, value("fresh_endpoints")?, value("degraded")?);
        ensure!(view == (owner.1, 2.0, 0.0), "{view:?} of {owner:?}");
        Ok(owner.clone())
    }

    /// Returns the lines of all logs that are about streams that ended.
    fn stream_ends(&self) -> anyhow::Result<Vec<String>> {
        let mut ends = Vec::new();
        for service in self.aggregators.iter().chain([&self.collector, &self.replica]) {
            let text = fs::read_to_string(self.dir.path().join(format!("{}.0.log", service.name())))?;
            let lines = text.lines().filter(|line| STREAM_ENDS.iter().any(|end| line.contains(end)));
            ends.extend(lines.map(str::to_owned));
        }
        Ok(ends)
    }
}

#[tokio::test]
async fn streams_stay_when_all_leases_are_lost() {
    let scene = Scene::start().await.unwrap();
    let settled = async || scene.owner().await.map(drop);
    eventually("one aggregator owns the pool, and all follow it", settled).await.unwrap();
    let before = scene.owner().await.unwrap();
    let ended_before = scene.stream_ends().unwrap();
    scene.etcd.revoke_leases(&scene.client).await.unwrap();
    let claimed_again = async || {
        let (name, epoch) = scene.owner().await?;
        ensure!(name == before.0, "{name} owns the pool");
        ensure!(epoch > before.1, "the owner has not claimed the pool again");
        Ok(())
    };
    eventually("the owner registers and claims the pool again", claimed_again).await.unwrap();
    assert_eq!(ended_before, scene.stream_ends().unwrap());
    let page = scene.client.metrics(&scene.replica.metrics().to_string()).await.unwrap();
    assert_eq!(Some(0.0), page.sum("signalbox_epp_origin_renewals_total"));
}
