//! A service of ours that ends and is started again, where it was.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;

use crate::process::{Process, Signal};
use crate::scratch::Scratch;

/// One of the services, in a process of its own.
#[derive(Debug)]
pub struct Service {
    name: String,
    binary: &'static str,
    flags: Vec<String>,
    metrics: SocketAddr,
    starts: u32,
    process: Option<Process>,
}

impl Service {
    /// One that does not run yet. `flags` come after its name.
    fn new(name: &str, binary: &'static str, metrics: SocketAddr, flags: &[(&str, String)]) -> Self {
        let named = [
            ("--name", name.to_owned()),
            ("--output", "json".to_owned()),
            ("--metrics-port", metrics.port().to_string()),
        ];
        let mut service =
            Self { name: name.to_owned(), binary, flags: Vec::new(), metrics, starts: 0, process: None };
        named.iter().chain(flags).for_each(|(name, value)| service.flag(name, value));
        service
    }

    /// An aggregator that listens at `listen`, tells others to come to `reached`, and serves the pool of this endpoints file.
    pub fn aggregator(
        name: &str,
        (listen, reached): (SocketAddr, SocketAddr),
        metrics: SocketAddr,
        endpoints: &Path,
    ) -> Self {
        let flags = [
            ("--endpoints", endpoints.display().to_string()),
            ("--bind", listen.ip().to_string()),
            ("--port", listen.port().to_string()),
            ("--advertise", reached.to_string()),
        ];
        Self::new(name, "signalbox-aggregator", metrics, &flags)
    }

    /// A collector that reads each of its pods so often.
    pub fn collector(name: &str, metrics: SocketAddr, interval: Duration) -> Self {
        let flags = [
            ("--metrics-bind", metrics.ip().to_string()),
            ("--scrape-interval", format!("{}ms", interval.as_millis())),
        ];
        Self::new(name, "signalbox-collector", metrics, &flags)
    }

    /// An EPP replica that listens for gateways, for health checks and for access logs.
    pub fn replica(name: &str, [ext_proc, health, access_log]: [SocketAddr; 3], metrics: SocketAddr) -> Self {
        let flags = [
            ("--bind", ext_proc.ip().to_string()),
            ("--grpc-port", ext_proc.port().to_string()),
            ("--grpc-health-port", health.port().to_string()),
            ("--access-log-port", access_log.port().to_string()),
            ("--secure-serving", "false".to_owned()),
        ];
        Self::new(name, "signalbox-epp", metrics, &flags)
    }

    /// Adds a flag for the next start.
    pub fn flag(&mut self, name: &str, value: &str) {
        self.flags.extend([name.to_owned(), value.to_owned()]);
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where its metrics are.
    pub fn metrics(&self) -> SocketAddr {
        self.metrics
    }

    /// Starts it, and waits until it is ready. Each start has a log of its own.
    ///
    /// # Errors
    /// When it does not get ready.
    pub async fn start(&mut self, scratch: &Scratch) -> anyhow::Result<()> {
        let flags: Vec<&str> = self.flags.iter().map(String::as_str).collect();
        let log = format!("{}.{}", self.name, self.starts);
        self.starts += 1;
        let (process, _) = Process::ready(scratch, self.binary, &log, &flags).await?;
        self.process = Some(process);
        Ok(())
    }

    /// The number of its process.
    ///
    /// # Errors
    /// When it does not run.
    pub fn id(&self) -> anyhow::Result<u32> {
        Ok(self.process.as_ref().with_context(|| self.not_running())?.id())
    }

    /// Sends it a signal that it outlives.
    ///
    /// # Errors
    /// When it does not run.
    pub fn send(&self, signal: Signal) -> anyhow::Result<()> {
        self.process.as_ref().with_context(|| self.not_running())?.send(signal)
    }

    /// Kills it as the kernel would.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        let not_running = self.not_running();
        self.process.take().context(not_running)?.kill()
    }

    /// Asks it to end, and waits until it has.
    ///
    /// # Errors
    /// When it does not run, or does not end well.
    pub async fn terminate(&mut self) -> anyhow::Result<()> {
        let not_running = self.not_running();
        let status = self.process.take().context(not_running)?.end(Signal::Terminate).await?;
        anyhow::ensure!(status.success(), "{} ended with {status}", self.name);
        Ok(())
    }

    fn not_running(&self) -> String {
        format!("{} does not run", self.name)
    }
}
