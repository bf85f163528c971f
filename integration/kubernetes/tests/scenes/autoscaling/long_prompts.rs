//! Load of long prompts that no cache holds: more than one model server of the scenes can prefill.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use signalbox_integration::{Client, CompletionRequest, ResponseFormat};
use tokio::task::{JoinHandle, JoinSet};

/// The time between two requests.
const INTERVAL: Duration = Duration::from_millis(160);

/// The length of a request: some 2,000 tokens, of which a model server does 8,000 per second.
const BYTES: usize = 8_000;

/// The topic of the first prompt. Each has its own.
const FIRST_TOPIC: u64 = 1_000;

/// How many requests in a row show how fast a model server is.
const MEASURED: u64 = 40;

/// Sends requests one after the other. Only the time of a prompt that has a model server for itself says how fast it is.
pub(super) async fn measure(client: &Client, gateway: &str) -> anyhow::Result<()> {
    let url = format!("{gateway}/v1/completions");
    for number in 0..MEASURED {
        send(client, &url, number).await?;
    }
    Ok(())
}

/// Sends a request, and reads its response as it comes.
async fn send(client: &Client, url: &str, number: u64) -> anyhow::Result<()> {
    let small = CompletionRequest::small(FIRST_TOPIC + number);
    let request = CompletionRequest { bytes: BYTES, format: ResponseFormat::Events, ..small };
    client.post(url, request.body()).await?.ok()?;
    Ok(())
}

/// Load that runs until it is stopped.
pub(super) struct LongPrompts {
    sent: Arc<AtomicU64>,
    is_stopped: Arc<AtomicBool>,
    task: JoinHandle<anyhow::Result<u64>>,
}

impl LongPrompts {
    /// Starts to send requests at a constant rate, regardless of how earlier ones end.
    pub(super) fn start(client: Client, gateway: &str) -> Self {
        let (sent, is_stopped) = (Arc::new(AtomicU64::new(MEASURED)), Arc::<AtomicBool>::default());
        let url = format!("{gateway}/v1/completions");
        let (counted, stopped) = (Arc::clone(&sent), Arc::clone(&is_stopped));
        let task = tokio::spawn(async move {
            let mut requests = JoinSet::new();
            while !stopped.load(Ordering::Relaxed) {
                let number = counted.fetch_add(1, Ordering::Relaxed);
                let (client, url) = (client.clone(), url.clone());
                requests.spawn(async move { send(&client, &url, number).await });
                tokio::time::sleep(INTERVAL).await;
            }
            let mut failures = Vec::new();
            for response in requests.join_all().await {
                failures.extend(response.err().map(|error| format!("{error:#}")));
            }
            ensure!(failures.is_empty(), "{} requests failed, such as: {}", failures.len(), failures[0]);
            Ok(counted.load(Ordering::Relaxed))
        });
        Self { sent, is_stopped, task }
    }

    /// Returns how many requests were sent so far.
    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Stops, and checks that every request was served. Returns how many there were.
    pub(super) async fn stop(self) -> anyhow::Result<u64> {
        self.is_stopped.store(true, Ordering::Relaxed);
        self.task.await.context("the load panicked")?
    }
}
