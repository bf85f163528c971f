//! A process of ours that ends and is started again, where it was.

use std::net::SocketAddr;

use anyhow::Context;
use signalbox_integration::{Process, Scratch, Signal};

use crate::cast::Who;
use crate::script::Blow;

/// One of the services.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) who: Who,
    binary: &'static str,
    flags: Vec<String>,
    pub(crate) metrics: SocketAddr,
    starts: u32,
    process: Option<Process>,
}

impl Member {
    /// One that does not run yet. `flags` come after its name.
    pub(crate) fn new(who: Who, binary: &'static str, metrics: SocketAddr, flags: &[(&str, String)]) -> Self {
        let named = [("--name", who.to_string()), ("--output", "json".to_owned())];
        let flags = named.iter().chain(flags);
        let flags = flags.flat_map(|(name, value)| [(*name).to_owned(), value.clone()]).collect();
        Self { who, binary, flags, metrics, starts: 0, process: None }
    }

    /// Adds a flag for the next start.
    pub(crate) fn flag(&mut self, name: &str, value: &str) {
        self.flags.extend([name.to_owned(), value.to_owned()]);
    }

    /// Starts it, and waits until it is ready. Each start has a log of its own.
    ///
    /// # Errors
    /// When it does not get ready.
    pub(crate) async fn start(&mut self, scratch: &Scratch) -> anyhow::Result<()> {
        let flags: Vec<&str> = self.flags.iter().map(String::as_str).collect();
        let name = format!("{}.{}", self.who, self.starts);
        self.starts += 1;
        let (process, _) = Process::ready(scratch, self.binary, &name, &flags).await?;
        self.process = Some(process);
        Ok(())
    }

    /// Does this to it.
    ///
    /// # Errors
    /// When it does not run, or does not end as it should.
    pub(crate) async fn take(&mut self, blow: Blow) -> anyhow::Result<()> {
        let not_running = || format!("{} does not run", self.who);
        match blow {
            Blow::Stop => self.process.as_ref().with_context(not_running)?.send(Signal::Stop),
            Blow::Continue => self.process.as_ref().with_context(not_running)?.send(Signal::Continue),
            Blow::Kill => self.process.take().with_context(not_running)?.kill(),
            Blow::Terminate => {
                let status = self.process.take().with_context(not_running)?.end(Signal::Terminate).await?;
                anyhow::ensure!(status.success(), "{} ended with {status}", self.who);
                Ok(())
            }
        }
    }
}
