//! Tests that a thousand requests that their clients give up, at every stage, leave nothing behind and do not
//! affect others.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use futures_util::future::{pending, try_join_all};
use http::Method;
use http_body_util::BodyExt;
use signalbox_integration::{
    CompletionRequest, PodConfig, ResponseFormat, TestCluster, TestClusterConfig, UPLOAD_CHUNK_BYTES, Upload,
    eventually,
};
use tokio::task::JoinSet;

/// How many requests are given up at each of the five stages.
const ABORTED: usize = 200;

/// How many requests go on all the while.
const OTHERS: usize = 8;

/// How far a request has come when its client gives it up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The replica has the headers, and no byte of the body.
    HeadersSent,
    /// The replica holds the first chunk of the body.
    BodyPartlySent,
    /// A pod was picked and has the request; no response has begun.
    Picked,
    /// The client has the headers of the response.
    ResponseBegun,
    /// The client has the first chunk of the response.
    FirstChunk,
}

const STAGES: [Stage; 5] =
    [Stage::HeadersSent, Stage::BodyPartlySent, Stage::Picked, Stage::ResponseBegun, Stage::FirstChunk];

impl Stage {
    fn upload(self) -> Upload {
        match self {
            Self::HeadersSent => Upload::HeadersOnly,
            Self::BodyPartlySent => Upload::Stalling,
            Self::Picked | Self::ResponseBegun | Self::FirstChunk => Upload::Whole,
        }
    }

    /// Returns the body: longer than a chunk if only the first one is sent.
    fn body(self) -> Bytes {
        // A pod that makes no progress begins a stream, but not a document.
        let format = if self == Self::Picked { ResponseFormat::Document } else { ResponseFormat::Events };
        let bytes = if self == Self::BodyPartlySent { 3 * UPLOAD_CHUNK_BYTES } else { 2_000 };
        CompletionRequest { topic: 1, bytes, max_tokens: Some(4_000), format }.body()
    }

    /// Returns the share of the requests that are booked, that have a response, and the bytes that the replica
    /// buffers of each.
    fn expected(self) -> (usize, usize, usize) {
        match self {
            Self::HeadersSent => (0, 0, 0),
            Self::BodyPartlySent => (0, 0, UPLOAD_CHUNK_BYTES),
            Self::Picked => (1, 0, 0),
            Self::ResponseBegun | Self::FirstChunk => (1, 1, 0),
        }
    }
}

/// The gauges of the replica that must return to zero.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Gauges {
    open_streams: usize,
    booked: usize,
    buffered_bytes: usize,
}

impl Gauges {
    async fn read(cluster: &TestCluster) -> anyhow::Result<Self> {
        let value = async |name| anyhow::Ok(cluster.epps[0].metric(&cluster.client, name).await? as usize);
        Ok(Self {
            open_streams: value("open_streams").await?,
            booked: value("own_in_flight_requests").await?,
            buffered_bytes: value("buffered_body_bytes").await?,
        })
    }
}

fn url(cluster: &TestCluster) -> String {
    format!("{}/v1/completions", cluster.envoy().url())
}

/// Waits until the replica has exactly these streams, bookings and buffered bytes.
async fn wait_for(cluster: &TestCluster, what: &str, expected: Gauges) -> anyhow::Result<()> {
    let has_gauges = async || {
        let gauges = Gauges::read(cluster).await?;
        ensure!(gauges == expected, "{gauges:?}, not {expected:?}");
        Ok(())
    };
    eventually(what, has_gauges).await
}

/// Lets the pods make no progress, or continue.
async fn set_wedged(cluster: &TestCluster, is_wedged: bool) -> anyhow::Result<()> {
    let pods = cluster.pods.iter().map(async |pod| match is_wedged {
        true => pod.wedge(&cluster.client).await,
        false => pod.clear_faults(&cluster.client).await,
    });
    try_join_all(pods).await?;
    Ok(())
}

/// Sends requests that get as far as `stage` and stay there until the set is dropped. `begun` counts those that
/// have what the stage needs of a response.
fn send(cluster: &TestCluster, stage: Stage, begun: &Arc<AtomicUsize>) -> JoinSet<anyhow::Result<()>> {
    let mut requests = JoinSet::new();
    for _ in 0..ABORTED {
        let (client, url, begun) = (cluster.client.clone(), url(cluster), Arc::clone(begun));
        requests.spawn(async move {
            let response = client.send_streaming(Method::POST, &url, stage.body(), stage.upload()).await?;
            ensure!(response.status() == 200, "{}", response.status());
            let mut body = response.into_body();
            if stage == Stage::FirstChunk {
                body.frame().await.context("the response ended before its first chunk")??;
            }
            begun.fetch_add(1, Ordering::Relaxed);
            pending().await
        });
    }
    requests
}

/// Brings requests to a stage, sees all of them there, and gives them up.
async fn abort_at(cluster: &TestCluster, stage: Stage) -> anyhow::Result<()> {
    let begun = Arc::new(AtomicUsize::new(0));
    let (booked, responses, buffered) = stage.expected();
    let needs_tokens = stage == Stage::FirstChunk;
    set_wedged(cluster, !needs_tokens).await?;
    let mut requests = send(cluster, stage, &begun);
    let have_begun = async || {
        let begun = begun.load(Ordering::Relaxed);
        ensure!(begun == responses * ABORTED, "{begun} responses");
        Ok(())
    };
    eventually(&format!("{stage:?}: the responses begin"), have_begun).await?;
    // No response ends before it is counted.
    set_wedged(cluster, true).await?;
    let seen = Gauges {
        open_streams: OTHERS + ABORTED,
        booked: OTHERS + booked * ABORTED,
        buffered_bytes: buffered * ABORTED,
    };
    wait_for(cluster, &format!("{stage:?}: {ABORTED} requests are at the stage"), seen).await?;
    have_begun().await.with_context(|| format!("{stage:?}: more responses began"))?;
    if let Some(ended) = requests.try_join_next() {
        bail!("{stage:?}: a request ended before it was given up: {ended:?}");
    }
    requests.shutdown().await;
    let others = Gauges { open_streams: OTHERS, booked: OTHERS, buffered_bytes: 0 };
    wait_for(cluster, &format!("{stage:?}: only the others are left"), others).await
}

/// Sends requests that are not given up, and returns them once each has the first chunk of its response.
async fn send_others(cluster: &TestCluster) -> anyhow::Result<JoinSet<anyhow::Result<Bytes>>> {
    let request =
        CompletionRequest { topic: 7, bytes: 2_000, max_tokens: Some(1_500), format: ResponseFormat::Events };
    let mut others = JoinSet::new();
    let (begun, mut has_begun) = tokio::sync::mpsc::channel(OTHERS);
    for _ in 0..OTHERS {
        let (client, url, begun) = (cluster.client.clone(), url(cluster), begun.clone());
        others.spawn(async move {
            let response = client.send_streaming(Method::POST, &url, request.body(), Upload::Whole).await?;
            let mut body = response.into_body();
            let first = body.frame().await.context("the response is empty")??;
            begun.send(()).await?;
            let first = first.into_data().ok().context("the response has no data")?;
            Ok([first, body.collect().await?.to_bytes()].concat().into())
        });
    }
    for _ in 0..OTHERS {
        has_begun.recv().await.context("a request that is not given up failed")?;
    }
    Ok(others)
}

#[tokio::test]
async fn aborted_requests_leave_nothing_and_do_not_affect_others() {
    // As fast as a real one, so that no response ends before it is given up.
    let pod = PodConfig { speed: 1.0, kv_capacity_tokens: 524_288 };
    // Otherwise requests would wait in the picker for pods that make no progress.
    let epp_flags = &["--flow-control", "off"];
    let config = TestClusterConfig { pod, epps: 1, epp_flags, ..TestClusterConfig::default() };
    let cluster = TestCluster::start(config).await.unwrap();
    let others = send_others(&cluster).await.unwrap();
    for stage in STAGES {
        abort_at(&cluster, stage).await.unwrap();
    }
    set_wedged(&cluster, false).await.unwrap();
    for response in others.join_all().await {
        assert!(response.unwrap().ends_with(b"data: [DONE]\n\n"));
    }
    let nothing = Gauges { open_streams: 0, booked: 0, buffered_bytes: 0 };
    wait_for(&cluster, "nothing is left", nothing).await.unwrap();
    cluster.complete(&CompletionRequest::small(2)).await.unwrap();
}
