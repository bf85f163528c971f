//! The binary's main function: starts the pods, prints their addresses, waits for the stop signal.

use std::io::{self, Write};
use std::time::Duration;

use serde::Serialize;
use signalbox_telemetry::stop_requested;

use crate::flags::{Flags, OutputFormat};
use crate::fleet::{Fleet, FleetError};

/// How long requests in flight may take to finish after the stop signal.
const STOP_GRACE: Duration = Duration::from_secs(1);

/// An error that ends the binary.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// A pod cannot listen on its port.
    #[error("{0}; choose another address with --listen")]
    Listen(FleetError),
    /// The pods cannot start.
    #[error(transparent)]
    Fleet(FleetError),
    /// Signals cannot be received.
    #[error("cannot listen for signals")]
    Signals(#[source] io::Error),
    /// Standard output cannot be written.
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
struct ReadyMessage<'a> {
    pods: Vec<ReadyPod<'a>>,
}

#[derive(Serialize)]
struct ReadyPod<'a> {
    name: &'a str,
    address: String,
}

/// Runs the pods until SIGTERM or Ctrl-C.
///
/// # Errors
/// Fails when the pods cannot start or their addresses cannot be printed.
pub async fn run(flags: &Flags) -> Result<(), AppError> {
    // Before anything is printed, because the reader of the output may send the signal at once.
    let stop = stop_requested().map_err(AppError::Signals)?;
    let fleet = Fleet::start(flags.fleet()).await?;
    print_ready(&fleet, flags.output).map_err(AppError::Output)?;
    stop.await;
    fleet.stop(STOP_GRACE).await;
    Ok(())
}

fn print_ready(fleet: &Fleet, format: OutputFormat) -> io::Result<()> {
    let mut output = io::stdout().lock();
    match format {
        OutputFormat::Text => {
            for server in fleet.servers() {
                writeln!(output, "pod {} is listening on http://{}", server.name(), server.address())?;
            }
        }
        OutputFormat::Json => {
            let pods = fleet.servers();
            let pods =
                pods.map(|server| ReadyPod { name: server.name(), address: server.address().to_string() });
            let ready = ReadyMessage { pods: pods.collect() };
            serde_json::to_writer(&mut output, &ready)?;
            writeln!(output)?;
        }
    }
    output.flush()
}
