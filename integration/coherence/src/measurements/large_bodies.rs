//! Measures how much requests with large bodies delay small ones on the same connection between gateway and replica. Envoy
//! has one worker thread, so that there is one such connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use signalbox_integration::{
    Client, CompletionRequest, StatusCode, TestCluster, TestClusterConfig, random_text,
};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use crate::harness::machine_load::MachineLoadProbe;
use crate::report::Section;
use crate::statistics::{median, quantile};

const LARGE_BYTES: usize = 8 << 20;

/// The time between two small requests, which are sent one after the other.
const INTERVAL: Duration = Duration::from_millis(10);

/// Small requests per round, and rounds of each kind. The kinds take turns.
const SMALL: usize = 1_000;
const ROUNDS: usize = 3;

/// What is sent beside the small requests, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Beside {
    Nothing,
    /// Large bodies for a path whose bodies the replica passes on unread.
    Unread,
    /// Large bodies that the replica reads: one prompt of text, each of another topic. No pod has their model, so that pods
    /// answer at once.
    Read,
}

impl Beside {
    const ALL: [Self; 3] = [Self::Nothing, Self::Unread, Self::Read];

    fn name(self) -> &'static str {
        match self {
            Self::Nothing => "alone",
            Self::Unread => "beside bodies of 8 MiB that the replica passes on unread",
            Self::Read => "beside bodies of 8 MiB that the replica reads",
        }
    }

    fn path(self) -> &'static str {
        match self {
            Self::Nothing | Self::Read => "/v1/completions",
            Self::Unread => "/v1/unknown",
        }
    }
}

/// Runs the measurement.
///
/// # Errors
/// Fails when the processes do not behave as expected.
pub(crate) async fn measure() -> anyhow::Result<Section> {
    let config = TestClusterConfig { epps: 1, gateway_threads: 1, ..TestClusterConfig::default() };
    let cluster = TestCluster::start(config).await?;
    let mut took_ms = Beside::ALL.map(|_| (Vec::new(), Vec::new()));
    let probe = MachineLoadProbe::start()?;
    for round in 0..ROUNDS {
        for (beside, (small_ms, large_ms)) in Beside::ALL.into_iter().zip(&mut took_ms) {
            let large = LargeRequests::start(cluster.client.clone(), cluster.envoy().url(), (beside, round));
            small_ms.extend(send_small(&cluster).await?);
            large_ms.extend(large.stop().await?);
        }
    }
    let load = probe.end()?;
    let mut section = Section::new("Large bodies");
    for (beside, (small_ms, large_ms)) in Beside::ALL.into_iter().zip(&took_ms) {
        let (p50, p99) = (quantile(small_ms, 0.5), quantile(small_ms, 0.99));
        let measured = format!("{p50:.2} ms, {p99:.2} ms, {:.2} ms", quantile(small_ms, 1.0));
        section.add(format!("small requests {}, p50, p99, maximum", beside.name()), measured);
        if beside != Beside::Nothing {
            ensure!(!large_ms.is_empty(), "no large request ended");
            let measured = format!("{}, {:.0} ms", large_ms.len(), median(large_ms));
            section.add("the large requests meanwhile: number, median", measured);
        }
    }
    section.note(format!("{ROUNDS} rounds of {SMALL} small requests each; {load}."));
    Ok(section)
}

/// Returns how long small requests take, in milliseconds.
async fn send_small(cluster: &TestCluster) -> anyhow::Result<Vec<f64>> {
    let mut took_ms = Vec::new();
    let mut interval = interval(INTERVAL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let request = CompletionRequest { max_tokens: Some(1), ..CompletionRequest::small(1) };
    for _ in 0..SMALL {
        interval.tick().await;
        let sent_at = Instant::now();
        cluster.complete(&request).await?;
        took_ms.push(sent_at.elapsed().as_secs_f64() * 1e3);
    }
    Ok(took_ms)
}

/// Large requests that are sent until they are stopped.
struct LargeRequests {
    is_stopped: Arc<AtomicBool>,
    task: JoinHandle<anyhow::Result<Vec<f64>>>,
}

impl LargeRequests {
    fn start(client: Client, gateway: &str, (beside, round): (Beside, usize)) -> Self {
        let is_stopped = Arc::<AtomicBool>::default();
        let (url, stop) = (format!("{gateway}{}", beside.path()), Arc::clone(&is_stopped));
        let task = tokio::spawn(async move {
            match beside {
                Beside::Nothing => Ok(Vec::new()),
                Beside::Unread | Beside::Read => send_large(client, url, round, &stop).await,
            }
        });
        Self { is_stopped, task }
    }

    /// Returns how long they took, in milliseconds.
    async fn stop(self) -> anyhow::Result<Vec<f64>> {
        self.is_stopped.store(true, Ordering::Relaxed);
        self.task.await.context("the sender of large requests panicked")?
    }
}

async fn send_large(
    client: Client,
    url: String,
    round: usize,
    is_stopped: &AtomicBool,
) -> anyhow::Result<Vec<f64>> {
    let text = random_text(1, LARGE_BYTES);
    let mut took_ms = Vec::new();
    while !is_stopped.load(Ordering::Relaxed) {
        // The chain of a prompt that begins like no other is new to the replica.
        let head = format!(r#"{{"model":"none","prompt":"{round} {} "#, took_ms.len());
        let body = [head.as_bytes(), &text, br#""}"#].concat();
        let sent_at = Instant::now();
        let response = client.post(&url, body).await?;
        ensure!(response.status == StatusCode::NOT_FOUND, "{response:?}");
        took_ms.push(sent_at.elapsed().as_secs_f64() * 1e3);
    }
    Ok(took_ms)
}
