//! How soon KEDA hears that a request waits in a pool without pods.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::Value;
use signalbox_integration::{Fleet, Process, TestDir, eventually};
use signalbox_protos::keda::externalscaler::external_scaler_client::ExternalScalerClient;
use signalbox_protos::keda::externalscaler::{GetMetricsRequest, IsActiveResponse, ScaledObjectRef};
use tonic::Streaming;
use tonic::transport::Channel;

use super::PORTS;
use super::gateway_client::{
    ExtProcStream, address, connect_gateway, connect_plaintext, receive_destination, send_body, start_request,
};

/// How often it is measured.
const ROUNDS: usize = 6;

/// Returns a trigger for the pool, and what it asks about.
fn trigger(metric: &str) -> ScaledObjectRef {
    let metadata = [("inferencePool", "llama3"), ("metric", metric), ("target", "1")];
    let metadata = metadata.map(|(key, value)| (key.to_owned(), value.to_owned()));
    ScaledObjectRef {
        name: "llama3".to_owned(),
        namespace: "default".to_owned(),
        scaler_metadata: HashMap::from(metadata),
    }
}

/// What KEDA sees.
struct Scaler {
    client: ExternalScalerClient<Channel>,
    stream: Streaming<IsActiveResponse>,
}

impl Scaler {
    /// Opens the stream when the pool is known to be inactive.
    async fn open(channel: Channel) -> anyhow::Result<Self> {
        let mut client = ExternalScalerClient::new(channel);
        let is_inactive = async || {
            let active = client.is_active(trigger("signalbox_active")).await?.into_inner().result;
            ensure!(!active, "the pool is active");
            Ok(())
        };
        eventually("the pool is known to be inactive", is_inactive).await?;
        let stream = client.stream_is_active(trigger("signalbox_active")).await?.into_inner();
        let mut scaler = Self { client, stream };
        ensure!(!scaler.next().await?, "the pool is active");
        Ok(scaler)
    }

    async fn next(&mut self) -> anyhow::Result<bool> {
        Ok(self.stream.message().await?.context("the stream ended")?.result)
    }

    async fn wait_until_none_waits(&mut self) -> anyhow::Result<()> {
        let request = || GetMetricsRequest {
            scaled_object_ref: Some(trigger("signalbox_queue_requests")),
            metric_name: String::new(),
        };
        let is_empty = async || {
            let values = self.client.get_metrics(request()).await?.into_inner().metric_values;
            let waiting = values.first().context("no value")?.metric_value;
            ensure!(waiting == 0, "{waiting} requests wait");
            Ok(())
        };
        eventually("no request waits", is_empty).await
    }
}

/// Lets a request wait at a replica, and returns it with the time until KEDA heard of it.
async fn wait_at(replica: &Value, scaler: &mut Scaler) -> anyhow::Result<(ExtProcStream, Duration)> {
    let request = start_request(connect_gateway(replica)?).await?;
    let sent_at = Instant::now();
    send_body(&request).await?;
    ensure!(scaler.next().await?, "the pool is not active");
    Ok((request, sent_at.elapsed()))
}

#[tokio::test]
async fn request_for_a_pool_without_pods_wakes_keda_and_waits_for_the_first_pod() {
    let dir = TestDir::new().unwrap();
    let fleet = Fleet::start(&dir, 1, &[]).await.unwrap();
    fleet.list_without(&dir, 1).unwrap();
    let file = fleet.file().to_str().unwrap();
    let flags = ["--endpoints", file, "--bind", "127.0.0.1", "--port", "0", "--metrics-port", "0"];
    let flags =
        [&flags[..], &["--keda-port", "0", "--scale-to-zero-after", "1s", "--output", "json"]].concat();
    let started = Process::start_ready(&dir, "signalbox-aggregator", "aggregator", &flags).await;
    let (_aggregator, ready) = started.unwrap();
    let aggregator = address(&ready, "aggregator").unwrap().to_string();
    let (mut processes, mut replicas) = (Vec::new(), Vec::new());
    for name in ["one", "other"] {
        let flags = ["--name", name, "--aggregator", &aggregator, "--bind", "127.0.0.1", "--output", "json"];
        let flags = [&flags[..], &PORTS, &["--flow-control=on"]].concat();
        let (process, ready) = Process::start_ready(&dir, "signalbox-epp", name, &flags).await.unwrap();
        processes.push(process);
        replicas.push(ready);
    }
    let mut scaler = Scaler::open(connect_plaintext(&ready, "keda").await.unwrap()).await.unwrap();
    let mut delays = Vec::new();
    for replica in replicas.iter().cycle().take(ROUNDS) {
        let (request, delay) = wait_at(replica, &mut scaler).await.unwrap();
        delays.push(delay);
        // A client that gives up waits no longer.
        drop(request);
        scaler.wait_until_none_waits().await.unwrap();
    }
    println!("from a request that begins to wait until KEDA hears of it: {delays:?}");
    let (request, _) = wait_at(&replicas[0], &mut scaler).await.unwrap();
    fleet.list_without(&dir, 0).unwrap();
    receive_destination(request).await.unwrap();
}
