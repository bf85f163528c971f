//! The whole line.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, ensure};
use bytes::Bytes;
use http::Method;
use serde_json::Value;

use crate::client::{Answer, Client, Upload};
use crate::endpoints::{add_documents, write_endpoints};
use crate::envoy::{Envoy, PICKED_HEADER, RequestMode, ResponseMode};
use crate::epp::Epp;
use crate::pod::{Pod, PodConfig};
use crate::process::Process;
use crate::prompt::Ask;
use crate::scratch::Scratch;
use crate::wait::eventually;

/// Where completions are asked for.
const COMPLETIONS: &str = "/v1/completions";

/// What a site is made of.
#[derive(Clone, Copy, Debug)]
pub struct SiteConfig {
    /// How many pods.
    pub pods: usize,
    /// What they are like.
    pub pod: PodConfig,
    /// How many EPP replicas.
    pub epps: usize,
    /// What they see of requests.
    pub request: RequestMode,
    /// What they see of responses.
    pub mode: ResponseMode,
}

impl Default for SiteConfig {
    fn default() -> Self {
        let (request, mode) = (RequestMode::FullDuplex, ResponseMode::FullDuplex);
        Self { pods: 3, pod: PodConfig::default(), epps: 2, request, mode }
    }
}

/// The whole line: model servers, an aggregator, a collector, EPP replicas, and Envoy in front.
///
/// Fields are in the order in which processes are killed.
#[derive(Debug)]
pub struct Site {
    envoy: Envoy,
    /// The replicas.
    pub epps: Vec<Epp>,
    _collector: Process,
    _aggregator: Process,
    /// The model servers.
    pub pods: Vec<Pod>,
    /// For all requests of the test.
    pub client: Client,
    scratch: Arc<Scratch>,
}

impl Site {
    /// Starts everything, and waits until each replica has fresh values of each pod.
    ///
    /// # Errors
    /// When that does not come to pass; with the ends of all logs.
    pub async fn start(config: SiteConfig) -> anyhow::Result<Self> {
        let scratch = Arc::new(Scratch::new()?);
        let started = Self::assemble(Arc::clone(&scratch), config).await;
        started.map_err(|error| anyhow::anyhow!("{error:#}\n{}", scratch.tails()))
    }

    async fn assemble(scratch: Arc<Scratch>, config: SiteConfig) -> anyhow::Result<Self> {
        let client = Client::new();
        let mut pods = Vec::new();
        for number in 0..config.pods {
            pods.push(Pod::start(&scratch, &format!("pod-{number}"), config.pod).await?);
        }
        let endpoints = list(&scratch, &pods)?;
        let (aggregator, address) = start_aggregator(&scratch, &endpoints).await?;
        let collector = start_collector(&scratch, &address).await?;
        let mut epps = Vec::new();
        for number in 0..config.epps {
            epps.push(Epp::start(&scratch, &format!("epp-{number}"), &address).await?);
        }
        let envoy = Envoy::start(&scratch, &client, &epps, (config.request, config.mode)).await?;
        let site =
            Self { envoy, epps, _collector: collector, _aggregator: aggregator, pods, client, scratch };
        site.sees("all pods are open", |candidates| all_are(candidates, config.pods, "open")).await?;
        Ok(site)
    }

    /// Envoy.
    pub fn envoy(&self) -> &Envoy {
        &self.envoy
    }

    /// Puts all pods into the endpoints file, or none.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn list_pods(&self, pods: &[Pod]) -> anyhow::Result<()> {
        list(&self.scratch, pods)?;
        Ok(())
    }

    /// Adds documents to the endpoints file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn say(&self, documents: &str) -> anyhow::Result<()> {
        add_documents(&list(&self.scratch, &self.pods)?, documents)
    }

    /// Sends a request through Envoy.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        upload: Upload,
    ) -> anyhow::Result<Answer> {
        self.client.send(method, &format!("{}{path}", self.envoy.url()), body, upload).await
    }

    /// As [`Site::send`], with more headers.
    ///
    /// # Errors
    /// As [`Site::send`].
    pub async fn send_with(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        sent: (Bytes, Upload),
    ) -> anyhow::Result<Answer> {
        self.client.send_with(Method::POST, &format!("{}{path}", self.envoy.url()), headers, sent).await
    }

    /// Asks for a completion through Envoy and makes sure that the pod that was picked served it.
    ///
    /// # Errors
    /// When the answer is not a 200 of the picked pod.
    pub async fn ask(&self, ask: &Ask) -> anyhow::Result<Answer> {
        let answer = self.send(Method::POST, COMPLETIONS, ask.body(), Upload::Whole).await?.ok()?;
        self.served_as_picked(&answer)?;
        Ok(answer)
    }

    /// The pod that served an answer, which must be the one that the EPP picked.
    ///
    /// # Errors
    /// When it is not.
    pub fn served_as_picked(&self, answer: &Answer) -> anyhow::Result<&Pod> {
        let name = answer.pod()?;
        let pod = self.pods.iter().find(|pod| pod.name() == name).context("an unknown pod")?;
        let picked = answer.header(PICKED_HEADER)?;
        ensure!(picked == pod.address(), "{picked} was picked, and {name} at {} served", pod.address());
        Ok(pod)
    }

    /// Waits until what each replica would say of a small request's candidates satisfies `condition`.
    ///
    /// # Errors
    /// When that does not happen.
    pub async fn sees(&self, what: &str, condition: impl Fn(&[Value]) -> bool) -> anyhow::Result<()> {
        for epp in &self.epps {
            let check = async || {
                let explanation = epp.explain(&self.client, Ask::small(0).body()).await?;
                let candidates = explanation["candidates"].as_array().context("it has no candidates")?;
                ensure!(condition(candidates), "{explanation}");
                Ok(())
            };
            eventually(&format!("a replica sees that {what}"), check).await?;
        }
        Ok(())
    }

    /// Waits until a metric of each replica satisfies `condition`.
    ///
    /// # Errors
    /// When that does not happen.
    pub async fn metric_is(&self, name: &str, condition: impl Fn(f64) -> bool) -> anyhow::Result<()> {
        for epp in &self.epps {
            let check = async || {
                let value = epp.metric(&self.client, name).await?;
                ensure!(condition(value), "it is {value}");
                Ok(())
            };
            eventually(&format!("{name} is as it should be"), check).await?;
        }
        Ok(())
    }
}

/// Whether there are so many candidates, all of this tier.
fn all_are(candidates: &[Value], count: usize, tier: &str) -> bool {
    candidates.len() == count && candidates.iter().all(|candidate| candidate["tier"] == tier)
}

fn list(scratch: &Scratch, pods: &[Pod]) -> anyhow::Result<PathBuf> {
    write_endpoints(scratch, pods.iter().map(|pod| (pod.name(), pod.address())))
}

async fn start_aggregator(scratch: &Scratch, endpoints: &Path) -> anyhow::Result<(Process, String)> {
    let file = endpoints.to_str().context("the build folder's path is not UTF-8")?;
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
    let (process, ready) = Process::ready(scratch, "signalbox-aggregator", "aggregator", &flags).await?;
    let address = ready["aggregator"].as_str().context("the aggregator has no address")?;
    Ok((process, address.to_owned()))
}

async fn start_collector(scratch: &Scratch, aggregator: &str) -> anyhow::Result<Process> {
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
    Ok(Process::ready(scratch, "signalbox-collector", "collector", &flags).await?.0)
}
