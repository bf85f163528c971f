//! The run itself: sends what the workload has when the schedule says so, and prints what came of it.

use std::io::{self, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::adapters::Adapters;
use super::args::{LoadArgs, Output, Plan};
use super::asking::Asking;
use super::client::Client;
use super::report::{Finish, Report, Subject};
use super::requests::Requests;
use super::schedule::{Next, Schedule};
use super::table::Table;
use super::tally::{Outcome, Tally};

/// The model to ask for when nobody names one.
const DEFAULT_MODEL: &str = "llama3-8b";
/// How often the progress bar is drawn while nothing happens.
const REDRAW: Duration = Duration::from_millis(200);

/// Why a run did not happen or its results are not shown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    /// Flags contradict each other.
    #[error("{0}")]
    Usage(String),
    /// The results cannot be written.
    #[error("cannot print the results")]
    Print(#[from] io::Error),
    /// Ctrl-C cannot be listened for.
    #[error("cannot listen for Ctrl-C")]
    Signal(#[source] io::Error),
}

/// Whether all requests were served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Served {
    /// Every one that was sent and answered.
    All,
    /// Some failed.
    Partly,
}

/// Runs `signalbox load`: prints the results to stdout and a progress bar, on a terminal, to stderr. Ctrl-C
/// stops it and prints what was measured so far.
///
/// # Errors
/// See [`LoadError`]. Requests that fail are results, not errors.
pub(crate) async fn run(args: LoadArgs) -> Result<Served, LoadError> {
    let plan = args.plan().map_err(LoadError::Usage)?;
    let output = plan.output;
    let report = execute(plan, tokio::signal::ctrl_c()).await?;
    print(&report, output, &mut io::stdout().lock())?;
    Ok(if report.errors.total == 0 { Served::All } else { Served::Partly })
}

fn print(report: &Report, output: Output, out: &mut impl Write) -> io::Result<()> {
    match output {
        Output::Table => write!(out, "{}", Table(report))?,
        Output::Json => {
            serde_json::to_writer(&mut *out, report)?;
            writeln!(out)?;
        }
    }
    out.flush()
}

/// Carries a plan out until it is done or `stop` says so.
pub(super) async fn execute(
    plan: Plan,
    stop: impl Future<Output = io::Result<()>>,
) -> Result<Report, LoadError> {
    let client = Client::new(&plan.target, plan.timeout);
    let model = match plan.model {
        Some(model) => model,
        None => client.first_model().await.unwrap_or_else(|| DEFAULT_MODEL.to_owned()),
    };
    let asked = plan.requests.adapters.as_ref().map_or_else(|| model.clone(), Adapters::label);
    let subject = Subject { target: plan.target.to_string(), profile: plan.profile, model: asked };
    let asking = Asking { api: plan.api, delivery: plan.delivery, model };
    let started = Instant::now();
    let mut run = Run {
        client,
        asking,
        requests: plan.requests,
        schedule: Schedule::new(plan.pacing, plan.count, plan.seed),
        started,
        sent: 0,
        in_flight: JoinSet::new(),
        tally: Tally::new(),
        progress: progress(plan.count),
    };
    let mut stop = std::pin::pin!(stop);
    let finish = tokio::select! {
        stopped = &mut stop => {
            stopped.map_err(LoadError::Signal)?;
            Finish::Interrupted
        }
        () = run.until_done() => Finish::Complete,
    };
    run.progress.finish_and_clear();
    Ok(Report::new(subject, &run.tally, started.elapsed(), finish))
}

/// A bar on a terminal, nothing elsewhere.
fn progress(requests: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:32} {pos}/{len} {msg} [{elapsed}, {eta} left]")
        .expect("the template is valid");
    let progress = ProgressBar::new(requests).with_style(style);
    progress.enable_steady_tick(REDRAW);
    progress
}

/// Requests on their way. Dropping it cancels them.
struct Run {
    client: Client,
    asking: Asking,
    requests: Requests,
    schedule: Schedule,
    started: Instant,
    sent: u64,
    in_flight: JoinSet<Outcome>,
    tally: Tally,
    progress: ProgressBar,
}

impl Run {
    async fn until_done(&mut self) {
        loop {
            match self.schedule.next(self.started.elapsed(), self.in_flight.len() as u64) {
                Next::Send { due } => self.send(due),
                Next::WaitUntil(then) => tokio::select! {
                    () = sleep_until(self.started + then) => {}
                    Some(outcome) = self.in_flight.join_next() => self.add(outcome),
                },
                Next::WaitForAnswer => {
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
        let ask = self.requests.ask(self.sent).expect("the schedule is no longer than the recording");
        let body = self.asking.body(&ask);
        self.sent += 1;
        let (client, path, delivery) = (self.client.clone(), self.asking.path(), self.asking.delivery);
        let due = self.started + due;
        self.in_flight.spawn(async move { client.send(path, body, delivery, due).await });
    }

    fn add(&mut self, outcome: Result<Outcome, tokio::task::JoinError>) {
        match outcome {
            Ok(outcome) => self.tally.add(outcome),
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
        self.progress.inc(1);
        if self.tally.failed() > 0 {
            self.progress.set_message(format!("{} failed", self.tally.failed()));
        }
    }
}
