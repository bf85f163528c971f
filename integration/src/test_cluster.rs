//! Starts a complete deployment for a test.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, ensure};
use bytes::Bytes;
use http::Method;
use serde_json::Value;

use crate::endpoints_file::{add_documents, drain_endpoints, write_endpoints};
use crate::http::CompletionRequest;
use crate::http::{Client, Response, Upload};
use crate::processes::Epp;
use crate::processes::Process;
use crate::processes::{Envoy, GATEWAY_THREADS, PICKED_HEADER, RequestMode, ResponseMode};
use crate::processes::{Pod, PodConfig};
use crate::test_dir::TestDir;
use crate::wait::eventually;

/// The path for completion requests.
const COMPLETIONS: &str = "/v1/completions";

/// The configuration of a test cluster.
#[derive(Clone, Copy, Debug)]
pub struct TestClusterConfig {
    /// The number of pods.
    pub pods: usize,
    /// The configuration of each pod.
    pub pod: PodConfig,
    /// The number of EPP replicas.
    pub epps: usize,
    /// Additional flags of the replicas.
    pub epp_flags: &'static [&'static str],
    /// What the replicas receive of requests.
    pub request_mode: RequestMode,
    /// What the replicas receive of responses.
    pub response_mode: ResponseMode,
    /// The number of Envoy's worker threads. Each has a connection of its own to each replica.
    pub gateway_threads: u16,
}

impl Default for TestClusterConfig {
    fn default() -> Self {
        let (request_mode, response_mode) = (RequestMode::FullDuplex, ResponseMode::FullDuplex);
        let gateway_threads = GATEWAY_THREADS;
        Self {
            pods: 3,
            pod: PodConfig::default(),
            epps: 2,
            epp_flags: &[],
            request_mode,
            response_mode,
            gateway_threads,
        }
    }
}

/// A complete deployment: model servers, an aggregator, a collector, EPP replicas, and Envoy in front.
///
/// The processes are killed in the order of the fields.
#[derive(Debug)]
pub struct TestCluster {
    envoy: Envoy,
    /// The EPP replicas.
    pub epps: Vec<Epp>,
    _collector: Process,
    _aggregator: Process,
    /// The model servers.
    pub pods: Vec<Pod>,
    /// The HTTP client of the test.
    pub client: Client,
    /// The endpoints file.
    endpoints: PathBuf,
    dir: Arc<TestDir>,
}

impl TestCluster {
    /// Starts all processes and waits until each replica has fresh values of each pod.
    ///
    /// # Errors
    /// Fails with the ends of all logs when a process does not become ready.
    pub async fn start(config: TestClusterConfig) -> anyhow::Result<Self> {
        let dir = Arc::new(TestDir::new()?);
        let started = Self::assemble(Arc::clone(&dir), config).await;
        started.map_err(|error| anyhow::anyhow!("{error:#}\n{}", dir.tails()))
    }

    async fn assemble(dir: Arc<TestDir>, config: TestClusterConfig) -> anyhow::Result<Self> {
        let client = Client::new();
        let mut pods = Vec::new();
        for number in 0..config.pods {
            pods.push(Pod::start(&dir, &format!("pod-{number}"), config.pod).await?);
        }
        let endpoints = list(&dir, &pods)?;
        let (aggregator, address) = start_aggregator(&dir, &endpoints).await?;
        let collector = start_collector(&dir, &address).await?;
        let mut epps = Vec::new();
        for number in 0..config.epps {
            epps.push(Epp::start(&dir, &format!("epp-{number}"), &address, config.epp_flags).await?);
        }
        let modes = (config.request_mode, config.response_mode);
        let envoy = Envoy::start(&dir, &client, &epps, modes, config.gateway_threads).await?;
        let (_collector, _aggregator) = (collector, aggregator);
        let cluster = Self { envoy, epps, _collector, _aggregator, pods, client, endpoints, dir };
        cluster
            .wait_for_candidates("all pods are open", |candidates| all_are(candidates, config.pods, "open"))
            .await?;
        Ok(cluster)
    }

    /// Returns the gateway.
    pub fn envoy(&self) -> &Envoy {
        &self.envoy
    }

    /// Replaces the pods in the endpoints file.
    ///
    /// # Errors
    /// Fails when the file cannot be written.
    pub fn list_pods(&self, pods: &[Pod]) -> anyhow::Result<()> {
        list(&self.dir, pods)?;
        Ok(())
    }

    /// Marks the pods with these names as draining in the endpoints file, and no others.
    ///
    /// # Errors
    /// Fails when the file cannot be written.
    pub fn drain_pods(&self, names: &[&str]) -> anyhow::Result<()> {
        drain_endpoints(&self.endpoints, names)
    }

    /// Appends documents to the endpoints file.
    ///
    /// # Errors
    /// Fails when the file cannot be written.
    pub fn add_documents(&self, documents: &str) -> anyhow::Result<()> {
        add_documents(&list(&self.dir, &self.pods)?, documents)
    }

    /// Sends a request through Envoy.
    ///
    /// # Errors
    /// Fails when there is no response.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        upload: Upload,
    ) -> anyhow::Result<Response> {
        self.client.send(method, &format!("{}{path}", self.envoy.url()), body, upload).await
    }

    /// Like [`TestCluster::send`], with additional headers.
    ///
    /// # Errors
    /// Fails like [`TestCluster::send`].
    pub async fn send_with(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        sent: (Bytes, Upload),
    ) -> anyhow::Result<Response> {
        self.client.send_with(Method::POST, &format!("{}{path}", self.envoy.url()), headers, sent).await
    }

    /// Sends a completion request through Envoy and checks that the picked pod served it.
    ///
    /// # Errors
    /// Fails when the status is not 200 or another pod served the request.
    pub async fn complete(&self, request: &CompletionRequest) -> anyhow::Result<Response> {
        let response = self.send(Method::POST, COMPLETIONS, request.body(), Upload::Whole).await?.ok()?;
        self.check_served_as_picked(&response)?;
        Ok(response)
    }

    /// Returns the pod that served a request, after checking that the EPP picked it.
    ///
    /// # Errors
    /// Fails when another pod served the request.
    pub fn check_served_as_picked(&self, response: &Response) -> anyhow::Result<&Pod> {
        let name = response.pod()?;
        let pod =
            self.pods.iter().find(|pod| pod.name() == name).context("an unknown pod served the request")?;
        let picked = response.header(PICKED_HEADER)?;
        ensure!(picked == pod.address(), "the EPP picked {picked}, but {name} at {} served", pod.address());
        Ok(pod)
    }

    /// Waits until the candidates in each replica's explanation of a small request satisfy `condition`.
    ///
    /// # Errors
    /// Fails when they do not in time.
    pub async fn wait_for_candidates(
        &self,
        what: &str,
        condition: impl Fn(&[Value]) -> bool,
    ) -> anyhow::Result<()> {
        for epp in &self.epps {
            let check = async || {
                let explanation = epp.explain(&self.client, CompletionRequest::small(0).body()).await?;
                let candidates =
                    explanation["candidates"].as_array().context("the explanation has no candidates")?;
                ensure!(condition(candidates), "{explanation}");
                Ok(())
            };
            eventually(&format!("a replica reports that {what}"), check).await?;
        }
        Ok(())
    }

    /// Waits until a metric of each replica satisfies `condition`.
    ///
    /// # Errors
    /// Fails when it does not in time.
    pub async fn wait_for_metric(&self, name: &str, condition: impl Fn(f64) -> bool) -> anyhow::Result<()> {
        for epp in &self.epps {
            let check = async || {
                let value = epp.metric(&self.client, name).await?;
                ensure!(condition(value), "{name} is {value}");
                Ok(())
            };
            eventually(&format!("{name} has the expected value"), check).await?;
        }
        Ok(())
    }
}

/// Returns whether there are `count` candidates, all in this tier.
fn all_are(candidates: &[Value], count: usize, tier: &str) -> bool {
    candidates.len() == count && candidates.iter().all(|candidate| candidate["tier"] == tier)
}

fn list(dir: &TestDir, pods: &[Pod]) -> anyhow::Result<PathBuf> {
    write_endpoints(dir, pods.iter().map(|pod| (pod.name(), pod.address())))
}

async fn start_aggregator(dir: &TestDir, endpoints: &Path) -> anyhow::Result<(Process, String)> {
    let file = endpoints.to_str().context("the path of the build directory is not UTF-8")?;
    let flags = [
        "--endpoints",
        file,
        "--bind",
        "127.0.0.1",
        "--port",
        "0",
        "--metrics-port",
        "0",
        "--origin-ttl",
        "3s",
        "--output",
        "json",
    ];
    let (process, ready) = Process::start_ready(dir, "signalbox-aggregator", "aggregator", &flags).await?;
    let address = ready["aggregator"].as_str().context("the aggregator printed no address")?;
    Ok((process, address.to_owned()))
}

/// Starts a collector for the aggregator at this address.
///
/// # Errors
/// Fails when it does not become ready.
pub async fn start_collector(dir: &TestDir, aggregator: &str) -> anyhow::Result<Process> {
    let flags = [
        "--aggregator",
        aggregator,
        "--metrics-bind",
        "127.0.0.1",
        "--metrics-port",
        "0",
        "--output",
        "json",
    ];
    Ok(Process::start_ready(dir, "signalbox-collector", "collector", &flags).await?.0)
}
