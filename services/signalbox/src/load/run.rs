//! Runs a plan: sends its requests on schedule, collects the outcomes and prints the report.

use std::io::{self, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::args::{LoadArgs, Plan, PlanError};
use super::client::Client;
use super::requests::Requests;
use super::requests::adapters::Adapters;
use super::requests::body::RequestEncoder;
use super::results::report::{Finish, Report, RunInfo};
use super::results::statistics::{Outcome, Statistics};
use super::results::table::Table;
use super::schedule::{Next, Schedule};
use crate::output::Output;

/// Model to request when neither the user nor the target names one.
const DEFAULT_MODEL: &str = "llama3-8b";
/// How often the progress bar is redrawn when no request completes.
const REDRAW_INTERVAL: Duration = Duration::from_millis(200);

/// Why a run failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    /// There is nothing to run.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The results cannot be printed.
    #[error("cannot print the results")]
    Print(#[from] io::Error),
    /// The handler for Ctrl-C cannot be installed.
    #[error("cannot install the Ctrl-C handler")]
    Signal(#[source] io::Error),
}

/// Whether all requests were served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Served {
    /// All requests were served.
    All,
    /// Some requests failed.
    Partly,
}

/// Runs `signalbox load`. Prints the results to stdout and, on a terminal, a progress bar to stderr. Ctrl-C
/// stops the run and prints the results so far.
///
/// # Errors
/// See [`LoadError`]. Requests that fail are results, not errors.
pub(crate) async fn run(args: LoadArgs) -> Result<Served, LoadError> {
    let plan = args.plan()?;
    let output = plan.output;
    let report = execute(plan, tokio::signal::ctrl_c()).await?;
    print(&report, output, &mut io::stdout().lock())?;
    Ok(if report.errors.total == 0 { Served::All } else { Served::Partly })
}

fn print(report: &Report, output: Output, out: &mut impl Write) -> io::Result<()> {
    match output {
        Output::Text => write!(out, "{}", Table(report))?,
        Output::Json => {
            serde_json::to_writer(&mut *out, report)?;
            writeln!(out)?;
        }
    }
    out.flush()
}

/// Executes a plan until it is complete or `stop` completes.
pub(super) async fn execute(
    plan: Plan,
    stop: impl Future<Output = io::Result<()>>,
) -> Result<Report, LoadError> {
    let client = Client::new(&plan.target, plan.timeout);
    let model = match plan.model {
        Some(model) => model,
        None => client.first_model().await.unwrap_or_else(|| DEFAULT_MODEL.to_owned()),
    };
    let model_label = plan.requests.adapters.as_ref().map_or_else(|| model.clone(), Adapters::label);
    let run_info = RunInfo { target: plan.target.to_string(), profile: plan.profile, model: model_label };
    let encoder = RequestEncoder { api: plan.api, response_mode: plan.response_mode, model };
    let started = Instant::now();
    let mut run = Run {
        client,
        encoder,
        requests: plan.requests,
        schedule: Schedule::new(plan.pacing, plan.count, plan.seed),
        started,
        sent: 0,
        in_flight: JoinSet::new(),
        statistics: Statistics::new(),
        progress: progress(plan.count),
    };
    let mut stop = std::pin::pin!(stop);
    let finish = tokio::select! {
        stopped = &mut stop => {
            stopped.map_err(LoadError::Signal)?;
            Finish::Interrupted
        }
        () = run.complete() => Finish::Complete,
    };
    run.progress.finish_and_clear();
    Ok(Report::new(run_info, &run.statistics, started.elapsed(), finish))
}

/// Creates a progress bar, which is drawn only on a terminal.
fn progress(requests: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:32} {pos}/{len} {msg} [{elapsed}, {eta} left]")
        .expect("the template is valid");
    let progress = ProgressBar::new(requests).with_style(style);
    progress.enable_steady_tick(REDRAW_INTERVAL);
    progress
}

/// A run in progress. Dropping it cancels the requests in flight.
struct Run {
    client: Client,
    encoder: RequestEncoder,
    requests: Requests,
    schedule: Schedule,
    started: Instant,
    sent: u64,
    in_flight: JoinSet<Outcome>,
    statistics: Statistics,
    progress: ProgressBar,
}

impl Run {
    async fn complete(&mut self) {
        loop {
            match self.schedule.next(self.started.elapsed(), self.in_flight.len() as u64) {
                Next::Send { due } => self.send(due),
                Next::WaitUntil(then) => tokio::select! {
                    () = sleep_until(self.started + then) => {}
                    Some(outcome) = self.in_flight.join_next() => self.add(outcome),
                },
                Next::WaitForResponse => {
                    if let Some(outcome) = self.in_flight.join_next().await {
                        self.add(outcome);
                    }
                }
                Next::Done => break,
            }
        }
        while let Some(outcome) = self.in_flight.join_next().await {
            self.add(outcome);
        }
    }

    fn send(&mut self, due: Duration) {
        let spec = self.requests.get(self.sent).expect("the schedule is no longer than the trace");
        let body = self.encoder.body(&spec);
        self.sent += 1;
        let (client, path, response_mode) =
            (self.client.clone(), self.encoder.path(), self.encoder.response_mode);
        let due = self.started + due;
        self.in_flight.spawn(async move { client.send(path, body, response_mode, due).await });
    }

    fn add(&mut self, outcome: Result<Outcome, tokio::task::JoinError>) {
        match outcome {
            Ok(outcome) => self.statistics.add(outcome),
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
        self.progress.inc(1);
        if self.statistics.failed() > 0 {
            self.progress.set_message(format!("{} failed", self.statistics.failed()));
        }
    }
}
