//! Runs a Signalbox service that keeps its ports across restarts.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;

use crate::processes::{Process, Signal};
use crate::test_dir::TestDir;

/// A Signalbox service in its own process.
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
    /// Creates a service that is not running yet.
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

    /// Creates an aggregator that listens on `listen`, advertises `advertised`, and serves the pools of an
    /// endpoints file.
    pub fn aggregator(
        name: &str,
        (listen, advertised): (SocketAddr, SocketAddr),
        metrics: SocketAddr,
        endpoints: &Path,
    ) -> Self {
        let flags = [
            ("--endpoints", endpoints.display().to_string()),
            ("--bind", listen.ip().to_string()),
            ("--port", listen.port().to_string()),
            ("--advertise", advertised.to_string()),
        ];
        Self::new(name, "signalbox-aggregator", metrics, &flags)
    }

    /// Creates a collector that scrapes each of its pods once per `interval`.
    pub fn collector(name: &str, metrics: SocketAddr, interval: Duration) -> Self {
        let flags = [
            ("--metrics-bind", metrics.ip().to_string()),
            ("--scrape-interval", format!("{}ms", interval.as_millis())),
        ];
        Self::new(name, "signalbox-collector", metrics, &flags)
    }

    /// Creates an EPP replica that listens for ext-proc, health checks and access logs.
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

    /// Adds a flag without a value for the next start.
    pub fn switch(&mut self, name: &str) {
        self.flags.push(name.to_owned());
    }

    /// Returns its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the address of its metrics page.
    pub fn metrics(&self) -> SocketAddr {
        self.metrics
    }

    /// Starts it and waits until it is ready. Each start has its own log.
    ///
    /// # Errors
    /// Fails when it does not become ready.
    pub async fn start(&mut self, dir: &TestDir) -> anyhow::Result<()> {
        let flags: Vec<&str> = self.flags.iter().map(String::as_str).collect();
        let log = format!("{}.{}", self.name, self.starts);
        self.starts += 1;
        let (process, _) = Process::start_ready(dir, self.binary, &log, &flags).await?;
        self.process = Some(process);
        Ok(())
    }

    /// Returns its process ID.
    ///
    /// # Errors
    /// Fails when it is not running.
    pub fn id(&self) -> anyhow::Result<u32> {
        Ok(self.process.as_ref().with_context(|| self.not_running())?.id())
    }

    /// Sends it a signal that does not end it.
    ///
    /// # Errors
    /// Fails when it is not running.
    pub fn send(&self, signal: Signal) -> anyhow::Result<()> {
        self.process.as_ref().with_context(|| self.not_running())?.send(signal)
    }

    /// Kills it with SIGKILL.
    ///
    /// # Errors
    /// Fails when it is not running.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        let not_running = self.not_running();
        self.process.take().context(not_running)?.kill()
    }

    /// Stops it with SIGTERM and waits until it has exited.
    ///
    /// # Errors
    /// Fails when it is not running, or exits with an error.
    pub async fn terminate(&mut self) -> anyhow::Result<()> {
        let not_running = self.not_running();
        let status = self.process.take().context(not_running)?.stop(Signal::Terminate).await?;
        anyhow::ensure!(status.success(), "{} exited with {status}", self.name);
        Ok(())
    }

    fn not_running(&self) -> String {
        format!("{} is not running", self.name)
    }
}
