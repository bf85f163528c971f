//! What the binary does: start the pods, say where they listen, wait for the signal to stop.

use std::io::{self, Write};
use std::time::Duration;

use serde::Serialize;
use signalbox_telemetry::stop_requested;

use crate::flags::{Flags, OutputFormat};
use crate::fleet::{Fleet, FleetError};

/// How long requests in flight may take to finish after the signal.
const STOP_GRACE: Duration = Duration::from_secs(1);

/// Why the binary failed.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// A port cannot be used.
    #[error("{0}; choose another address with --listen")]
    Listen(FleetError),
    /// The pods cannot start.
    #[error(transparent)]
    Fleet(FleetError),
    /// Signals cannot be received.
    #[error("cannot listen for signals")]
    Signals(#[source] io::Error),
    /// Standard output is closed.
    #[error("cannot write to standard output")]
    Output(#[source] io::Error),
}

impl From<FleetError> for AppError {
    fn from(error: FleetError) -> Self {
        match error {
            FleetError::Listen { .. } | FleetError::PortRange { .. } => Self::Listen(error),
            FleetError::Start(_) => Self::Fleet(error),
        }
    }
}

#[derive(Serialize)]
struct Ready<'a> {
    pods: Vec<ReadyPod<'a>>,
}

#[derive(Serialize)]
struct ReadyPod<'a> {
    name: &'a str,
    address: String,
}

/// Runs until SIGTERM or Ctrl-C.
///
/// # Errors
/// When the pods cannot start or nobody can be told that they did.
pub async fn run(flags: &Flags) -> Result<(), AppError> {
    // Before anything is printed: whoever reads that we are ready may already send the signal.
    let stop = stop_requested().map_err(AppError::Signals)?;
    let fleet = Fleet::start(flags.fleet()).await?;
    announce(&fleet, flags.output).map_err(AppError::Output)?;
    stop.await;
    fleet.stop(STOP_GRACE).await;
    Ok(())
}

fn announce(fleet: &Fleet, format: OutputFormat) -> io::Result<()> {
    let mut output = io::stdout().lock();
    match format {
        OutputFormat::Text => {
            for server in fleet.servers() {
                writeln!(output, "pod {} listens on http://{}", server.name(), server.address())?;
            }
        }
        OutputFormat::Json => {
            let pods = fleet.servers().iter();
            let pods =
                pods.map(|server| ReadyPod { name: server.name(), address: server.address().to_string() });
            let ready = Ready { pods: pods.collect() };
            serde_json::to_writer(&mut output, &ready)?;
            writeln!(output)?;
        }
    }
    output.flush()
}
