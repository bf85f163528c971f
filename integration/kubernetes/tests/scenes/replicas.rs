//! What the EPP replicas of a scene know.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::Value;
use signalbox_integration::{Client, MODEL, eventually};
use signalbox_kubernetes_tests::{Scene, metrics_address};

/// The `max_tokens` by which a test finds its own requests among the decisions. No request of the load has it.
pub(crate) const PROBE_TOKENS: u32 = 3;

/// The EPP replicas that were running at one time.
pub(crate) struct Replicas {
    client: Client,
    /// The address of each replica's debug routes.
    addresses: Vec<String>,
}

impl Replicas {
    /// Returns values that let [`Replicas`] ask: debug routes that respond to other hosts, and recorded decisions.
    pub(crate) fn flags() -> Value {
        serde_json::json!({ "allow-remote-explain": true, "decision-history": 1000 })
    }

    /// Finds the replicas.
    pub(crate) async fn find(scene: &Scene) -> anyhow::Result<Self> {
        let pods = scene.component("epp").await?;
        let addresses = pods.iter().map(metrics_address).collect::<anyhow::Result<Vec<_>>>()?;
        ensure!(addresses.len() > 1, "there is only one replica");
        Ok(Self { client: Client::new(), addresses })
    }

    /// Waits until `check` holds for the endpoints of every replica, prints how long that took since `started`, and
    /// returns it.
    pub(crate) async fn see(
        &self,
        what: &str,
        started: Instant,
        check: impl Fn(&Endpoints) -> bool,
    ) -> anyhow::Result<Duration> {
        let all = async || {
            for address in &self.addresses {
                let endpoints = Endpoints::of(&self.explain(address, MODEL).await?)?;
                ensure!(check(&endpoints), "{address} has {endpoints:?}");
            }
            Ok(())
        };
        eventually(what, all).await?;
        let elapsed = started.elapsed();
        println!("{what}: seen by all replicas after {:.2} s", elapsed.as_secs_f64());
        Ok(elapsed)
    }

    /// Waits until every replica sends requests for `model` to `target`, and prints how long that took.
    pub(crate) async fn rewrite(
        &self,
        (model, target): (&str, &str),
        started: Instant,
    ) -> anyhow::Result<()> {
        let all = async || {
            for address in &self.addresses {
                let explanation = self.explain(address, model).await?;
                let asked = &explanation["request"]["model"];
                ensure!(asked == target, "{address} rewrites {model} to {asked}");
            }
            Ok(())
        };
        eventually(&format!("{model} becomes {target}"), all).await?;
        println!(
            "{model} becomes {target}: seen by all replicas after {:.2} s",
            started.elapsed().as_secs_f64()
        );
        Ok(())
    }

    /// Sends requests with [`PROBE_TOKENS`] until the latest of them that each replica decided on has `priority`, and
    /// prints how long that took.
    pub(crate) async fn decide_with_priority(
        &self,
        priority: i64,
        started: Instant,
        send: impl AsyncFn() -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let all = async || {
            send().await?;
            for address in &self.addresses {
                let latest = self.latest_priority(address).await?;
                ensure!(latest == Some(priority), "the latest decision of {address} had priority {latest:?}");
            }
            Ok(())
        };
        eventually(&format!("requests have priority {priority}"), all).await?;
        println!("priority {priority}: used by all replicas after {:.2} s", started.elapsed().as_secs_f64());
        Ok(())
    }

    /// Returns the priority of the latest request with [`PROBE_TOKENS`].
    async fn latest_priority(&self, address: &str) -> anyhow::Result<Option<i64>> {
        let url = format!("http://{address}/decisions?limit=60");
        let decisions: Value = self.client.get(&url).await?.ok()?.json()?;
        let requests = decisions.as_array().context("the decisions are not a list")?.iter();
        let mut requests = requests.map(|decision| &decision["request"]);
        let latest = requests.find(|request| request["max_output_tokens"] == PROBE_TOKENS);
        Ok(latest.map(|request| request["priority"].as_i64().unwrap_or(0)))
    }

    async fn explain(&self, address: &str, model: &str) -> anyhow::Result<Value> {
        let body =
            serde_json::json!({ "model": model, "prompt": "which endpoints are there?", "max_tokens": 1 });
        self.client.post(&format!("http://{address}/explain"), body.to_string()).await?.ok()?.json()
    }
}

/// The endpoints that a replica knows.
#[derive(Debug, Default)]
pub(crate) struct Endpoints {
    /// The names of those that take new requests.
    pub(crate) open: Vec<String>,
    /// The names of those that are about to be removed.
    pub(crate) draining: Vec<String>,
}

impl Endpoints {
    fn of(explanation: &Value) -> anyhow::Result<Self> {
        let mut endpoints = Self::default();
        for candidate in explanation["candidates"].as_array().context("no candidates")? {
            let name = candidate["endpoint"].as_str().context("a candidate has no name")?.to_owned();
            match candidate["removed_by"].as_str() {
                None => endpoints.open.push(name),
                Some("draining") => endpoints.draining.push(name),
                // Not scraped yet: it is listed, but no request goes there.
                Some(_) => {}
            }
        }
        Ok(endpoints)
    }

    /// Returns whether exactly `open` endpoints take new requests, and none is draining.
    pub(crate) fn are(&self, open: usize) -> bool {
        (self.open.len(), self.draining.len()) == (open, 0)
    }
}
