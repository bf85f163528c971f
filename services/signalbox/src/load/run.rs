//! Runs a plan: sends its requests on schedule, collects the outcomes and prints the report.

use std::io::{self, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};

use super::args::{LoadArgs, Plan, PlanError};
use super::client::{Call, Client, connector};
use super::requests::Requests;
use super::requests::adapters::Adapters;
use super::requests::body::RequestEncoder;
use super::requests::tiers::Tag;
use super::results::outcome::Outcome;
use super::results::report::{Finish, Report, RunInfo};
use super::results::statistics::Statistics;
use super::results::table::Table;
use super::results::tiers::TierStatistics;
use super::schedule::{Next, Schedule};
use crate::output::{Output, PrintError};

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
    /// The certificate authorities cannot be read.
    #[error("{0:#}")]
    Trust(anyhow::Error),
    /// The results cannot be printed.
    #[error(transparent)]
    Print(#[from] PrintError),
    /// The handler for Ctrl-C cannot be installed.
    #[error("cannot install the Ctrl-C handler")]
    Signal(#[source] io::Error),
}

/// Whether all requests were served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Served {
    /// All requests were served, except those of tiers that a full pool refused.
    All,
    /// Some requests failed, or none was served.
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
    print(&report, output, &mut io::stdout().lock()).map_err(PrintError)?;
    Ok(if report.all_served() { Served::All } else { Served::Partly })
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
    let target = plan.target.url.to_string();
    let connector = connector(&plan.target.url, &plan.trust).await.map_err(LoadError::Trust)?;
    let client = Client::new(plan.target, connector);
    let model = match plan.model {
        Some(model) => model,
        None => client.first_model().await.unwrap_or_else(|| DEFAULT_MODEL.to_owned()),
    };
    let model_label = plan.requests.adapters.as_ref().map_or_else(|| model.clone(), Adapters::label);
    let run_info = RunInfo { target, profile: plan.profile, model: model_label, goals: plan.goals };
    let Plan { api, response_mode, ignore_eos, .. } = plan;
    let encoder = RequestEncoder { api, response_mode, model, ignore_eos };
    let started = Instant::now();
    let mut run = Run {
        client,
        encoder,
        schedule: Schedule::new(plan.pacing, plan.end, plan.seed),
        started,
        measured_from: plan.warmup,
        sent: 0,
        in_flight: JoinSet::new(),
        statistics: Statistics::new(plan.goals),
        tiers: plan.requests.tiers.as_ref().map(|tiers| TierStatistics::new(tiers, plan.goals)),
        requests: plan.requests,
        progress: progress(plan.end.requests),
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
    let measured = started.elapsed().saturating_sub(plan.warmup);
    Ok(Report::new(run_info, &run.statistics, run.tiers.as_ref(), (measured, finish)))
}

/// Creates a progress bar, which is drawn only on a terminal.
fn progress(requests: Option<u64>) -> ProgressBar {
    let (progress, template) = match requests {
        Some(requests) => (ProgressBar::new(requests), "{bar:32} {pos}/{len} {msg} [{elapsed}, {eta} left]"),
        None => (ProgressBar::no_length(), "{spinner} {pos} requests {msg} [{elapsed}]"),
    };
    let progress =
        progress.with_style(ProgressStyle::with_template(template).expect("the template is valid"));
    progress.enable_steady_tick(REDRAW_INTERVAL);
    progress
}

/// A request that has ended.
struct Ended {
    /// When it was due, since the start.
    due: Duration,
    tag: Option<Tag>,
    outcome: Outcome,
}

/// A run in progress. Dropping it cancels the requests in flight.
struct Run {
    client: Client,
    encoder: RequestEncoder,
    requests: Requests,
    schedule: Schedule,
    started: Instant,
    /// Requests that are due earlier after the start are not measured.
    measured_from: Duration,
    sent: u64,
    in_flight: JoinSet<Ended>,
    statistics: Statistics,
    tiers: Option<TierStatistics>,
    progress: ProgressBar,
}

impl Run {
    async fn complete(&mut self) {
        loop {
            match self.schedule.next(self.started.elapsed(), self.in_flight.len() as u64) {
                Next::Send { due } => self.send(due),
                Next::WaitUntil(then) => tokio::select! {
                    () = sleep_until(self.started + then) => {}
                    Some(ended) = self.in_flight.join_next() => self.add(ended),
                },
                Next::WaitForResponse => {
                    if let Some(ended) = self.in_flight.join_next().await {
                        self.add(ended);
                    }
                }
                Next::Done => break,
            }
        }
        while let Some(ended) = self.in_flight.join_next().await {
            self.add(ended);
        }
    }

    fn send(&mut self, due: Duration) {
        let spec = self.requests.get(self.sent).expect("the schedule is no longer than the trace");
        let tag = self.requests.tag(self.sent);
        self.sent += 1;
        let call = Call {
            path: self.encoder.path(),
            headers: tag.map(|tag| tag.headers().into()).unwrap_or_default(),
            body: self.encoder.body(&spec),
            response_mode: self.encoder.response_mode,
        };
        let (client, due_at) = (self.client.clone(), self.started + due);
        self.in_flight.spawn(async move { Ended { due, tag, outcome: client.send(call, due_at).await } });
    }

    fn add(&mut self, ended: Result<Ended, JoinError>) {
        let Ended { due, tag, outcome } = match ended {
            Ok(ended) => ended,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        self.progress.inc(1);
        if due < self.measured_from {
            return;
        }
        self.statistics.add(&outcome);
        if let (Some(tiers), Some(tag)) = (&mut self.tiers, tag) {
            tiers.add(tag, &outcome);
        }
        if self.statistics.failed() > 0 {
            self.progress.set_message(format!("{} failed", self.statistics.failed()));
        }
    }
}
