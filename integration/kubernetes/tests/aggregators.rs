//! Aggregators that read their pools from a real API server and elect owners through it.

use std::time::Instant;

use anyhow::{Context, bail, ensure};
use signalbox_integration::{Client, Process, Signal, TestDir, eventually};
use signalbox_kubernetes_tests::{ControlPlane, sandboxed};

const CRDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/crds/v1alpha2");
const LOOPBACK: [u8; 4] = [127, 0, 0, 1];

const POOLS: &str = "
apiVersion: inference.networking.k8s.io/v1alpha2
kind: InferencePool
metadata: { name: first }
spec: { selector: { matchLabels: { app: first } }, targetPortNumber: 8000, extensionRef: { name: epp } }
---
apiVersion: inference.networking.k8s.io/v1alpha2
kind: InferencePool
metadata: { name: second }
spec: { selector: { matchLabels: { app: second } }, targetPortNumber: 8000, extensionRef: { name: epp, portNumber: 9003 } }
";

struct Aggregator {
    name: String,
    process: Process,
    metrics: String,
    client: Client,
}

impl Aggregator {
    async fn start(
        dir: &TestDir,
        control_plane: &ControlPlane,
        name: &str,
        more: &[&str],
    ) -> anyhow::Result<Self> {
        let kubeconfig = control_plane.kubectl().kubeconfig().display().to_string();
        let flags = "--bind 127.0.0.1 --port 0 --metrics-port 0 --output json --service default/epp \
                     --service-ports 9002-9010 --pool-drain 1s --coordinator kubernetes --namespace default";
        let mut flags: Vec<&str> = flags.split_whitespace().collect();
        flags.extend(["--name", name, "--kubeconfig", &kubeconfig]);
        flags.extend(more);
        let (process, addresses) = Process::start_ready(dir, "signalbox-aggregator", name, &flags).await?;
        let metrics = addresses["metrics"].as_str().context("no address")?.to_owned();
        Ok(Self { name: name.to_owned(), process, metrics, client: Client::new() })
    }

    /// Returns whether it owns a pool.
    async fn is_owner(&self) -> anyhow::Result<bool> {
        let page = self.client.metrics(&self.metrics).await?;
        Ok(page.sum("signalbox_aggregator_owner") > Some(0.0))
    }

    async fn is_ready(&self) -> anyhow::Result<()> {
        let response = self.client.get(&format!("http://{}/readyz", self.metrics)).await?;
        ensure!(response.status == 200, "{}", response.text()?);
        Ok(())
    }
}

/// Returns how many pools the aggregators own together, after checking that each has `pools` of them.
async fn owned(aggregators: &[Aggregator], pools: f64) -> anyhow::Result<f64> {
    let mut owned = 0.0;
    for aggregator in aggregators {
        let page = aggregator.client.metrics(&aggregator.metrics).await?;
        let listed = page.sum("signalbox_aggregator_pools");
        ensure!(listed == Some(pools), "{listed:?} pools");
        let contacted = page.sum("signalbox_aggregator_last_contact_timestamp_seconds");
        ensure!(contacted.is_some_and(|at| at > 0.0), "no contact with the API server");
        owned += page.sum("signalbox_aggregator_owner").unwrap_or(0.0);
    }
    Ok(owned)
}

#[test]
fn aggregators_share_the_pools_of_a_service_and_outlast_the_api_server() -> anyhow::Result<()> {
    let name = "aggregators_share_the_pools_of_a_service_and_outlast_the_api_server";
    sandboxed(name, async |dir: &TestDir| {
        let mut control_plane = ControlPlane::start(dir, LOOPBACK.into()).await?;
        let kubectl = control_plane.kubectl().clone();
        let mut aggregators = Vec::new();
        for name in ["one", "two"] {
            aggregators.push(Aggregator::start(dir, &control_plane, name, &[]).await?);
        }
        for aggregator in &aggregators {
            eventually("it is ready without any pool", async || aggregator.is_ready().await).await?;
        }
        kubectl.run(&["apply", "--server-side", "--filename", CRDS]).await?;
        eventually("the API server serves the CRDs", async || kubectl.apply(POOLS).await).await?;
        let each_pool_has_an_owner = async || {
            let owned = owned(&aggregators, 2.0).await?;
            ensure!(owned == 2.0, "{owned} pools have an owner");
            Ok(())
        };
        eventually("each pool has an owner", each_pool_has_an_owner).await?;

        control_plane.stop_api_server()?;
        let failed = async || {
            for aggregator in &aggregators {
                let page = aggregator.client.metrics(&aggregator.metrics).await?;
                ensure!(page.sum("signalbox_aggregator_watch_errors_total") > Some(0.0), "no failure yet");
                aggregator.is_ready().await?;
            }
            each_pool_has_an_owner().await
        };
        eventually("they notice, stay ready and keep their pools", failed).await?;

        control_plane.start_api_server(dir).await?;
        kubectl.run(&["delete", "inferencepool", "first"]).await?;
        let one_is_gone = async || {
            let owned = owned(&aggregators, 1.0).await?;
            ensure!(owned == 1.0, "{owned} pools have an owner");
            Ok(())
        };
        eventually("the pool that is gone has no owner", one_is_gone).await?;
        for aggregator in aggregators {
            let status = aggregator.process.stop(Signal::Terminate).await?;
            ensure!(status.success(), "it exited with {status}");
        }
        Ok(())
    })
}

/// Leases that outlast the test: who owns a pool later did not wait for one to end.
const LASTING_LEASES: [&str; 2] = ["--lease-ttl", "10m"];

/// Waits until exactly one aggregator owns the pool, and removes it from the others.
async fn take_owner(aggregators: &mut Vec<Aggregator>) -> anyhow::Result<Aggregator> {
    let owner = eventually("the pool has one owner", async || {
        let mut owners = Vec::new();
        for (index, aggregator) in aggregators.iter().enumerate() {
            owners.extend(aggregator.is_owner().await?.then_some(index));
        }
        let [owner] = owners[..] else { bail!("the owners are {owners:?}") };
        Ok(owner)
    });
    let owner = owner.await?;
    Ok(aggregators.remove(owner))
}

/// Waits until every aggregator has the version of the owner.
async fn standbys_are_up_to_date(owner: &Aggregator, standbys: &[Aggregator]) -> anyhow::Result<()> {
    let version = async |aggregator: &Aggregator| -> anyhow::Result<_> {
        let page = aggregator.client.metrics(&aggregator.metrics).await?;
        let value = |name: &str| page.sum(&format!("signalbox_aggregator_{name}"));
        Ok((value("epoch"), value("seq"), value("connected_followers")))
    };
    eventually("the standbys follow the owner", async || {
        let (epoch, seq, _) = version(owner).await?;
        for standby in standbys {
            let (standby_epoch, standby_seq, followers) = version(standby).await?;
            ensure!((standby_epoch, standby_seq) == (epoch, seq), "a standby is behind");
            ensure!(followers >= Some(standbys.len() as f64), "the standbys do not follow each other");
        }
        Ok(())
    })
    .await
}

#[test]
fn standby_takes_the_pool_of_a_killed_owner_although_its_lease_lasts() -> anyhow::Result<()> {
    let name = "standby_takes_the_pool_of_a_killed_owner_although_its_lease_lasts";
    sandboxed(name, async |dir: &TestDir| {
        let control_plane = ControlPlane::start(dir, LOOPBACK.into()).await?;
        let kubectl = control_plane.kubectl().clone();
        kubectl.run(&["apply", "--server-side", "--filename", CRDS]).await?;
        let pool = POOLS.split("---").next().context("no pool")?;
        eventually("the API server serves the CRDs", async || kubectl.apply(pool).await).await?;
        let mut standbys = Vec::new();
        for name in ["one", "two", "three"] {
            standbys.push(Aggregator::start(dir, &control_plane, name, &LASTING_LEASES).await?);
        }
        let mut owner = take_owner(&mut standbys).await?;
        standbys_are_up_to_date(&owner, &standbys).await?;
        owner.process.kill()?;
        let killed = Instant::now();
        let mut next = take_owner(&mut standbys).await?;
        println!("the next owner was there {:.2} s after SIGKILL", killed.elapsed().as_secs_f64());

        // An aggregator that restarts does not wait for the lease of its earlier run.
        standbys.iter_mut().try_for_each(|standby| standby.process.kill())?;
        next.process.kill()?;
        let mut restarted = vec![Aggregator::start(dir, &control_plane, &next.name, &LASTING_LEASES).await?];
        take_owner(&mut restarted).await?;
        Ok(())
    })
}
