//! Measures what the questions of autoscalers cost the owner of a pool, and whether they delay what it does.

use std::time::Duration;

use signalbox_integration::Ports;

use super::propagation::{LAYOUT, Setup};
use super::propagation_report::Round;
use crate::harness::autoscalers::{AnswerTimes, Autoscaling};
use crate::harness::cluster::Cluster;
use crate::report::Section;
use crate::statistics::{largest, median, quantile};

const QUESTIONS_PER_SECOND: f64 = 1_000.0;

/// The bookings whose delays show whether the owner is held up.
const BOOKINGS_PER_SECOND: f64 = 100.0;

const ROUND_DURATION: Duration = Duration::from_secs(10);

/// Rounds without and with questions, in turn.
const ROUNDS: usize = 5;

/// Runs the measurement.
///
/// # Errors
/// Fails when the processes do not behave as expected.
pub(crate) async fn measure() -> anyhow::Result<Section> {
    let mut ports = Ports::new();
    let autoscaling = Autoscaling::prepare(ports.take()?, ports.take()?).await?;
    let mut setup =
        Setup::start(Cluster::start_with_aggregator_flags(LAYOUT, autoscaling.flags()).await?).await?;
    autoscaling.wait_until_answered().await?;
    let (mut without, mut with, mut answers) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        without.push(setup.run_round(BOOKINGS_PER_SECOND, ROUND_DURATION).await?);
        let round = setup.run_round(BOOKINGS_PER_SECOND, ROUND_DURATION);
        let asked = autoscaling.ask(QUESTIONS_PER_SECOND, ROUND_DURATION);
        let (round, asked) = tokio::join!(round, asked);
        with.push(round?);
        answers.push(asked?);
    }
    Ok(section(&without, &with, &answers))
}

fn section(without: &[Round], with: &[Round], answers: &[AnswerTimes]) -> Section {
    let mut section = Section::new("Questions of autoscalers");
    let keda: Vec<f64> = answers.iter().flat_map(|times| times.keda_ms.iter().copied()).collect();
    let api: Vec<f64> = answers.iter().flat_map(|times| times.metrics_api_ms.iter().copied()).collect();
    let seconds = ROUND_DURATION.as_secs_f64() * ROUNDS as f64;
    let per_second = |times: &[f64]| times.len() as f64 / seconds;
    section.add(
        "questions per second, of KEDA and of the HPA",
        format!("{:.0}, {:.0}", per_second(&keda), per_second(&api)),
    );
    section.add("answers to KEDA, p50, p99, longest", format_ms(&keda));
    section.add("answers to the HPA, p50, p99, longest", format_ms(&api));
    let cpu_ms = |rounds: &[Round]| {
        rounds.iter().map(|round| round.owner_us_each * round.bookings as f64 / 1e3).sum::<f64>()
    };
    let (before, after) = (cpu_ms(without), cpu_ms(with));
    section.add(
        "CPU time of the owner without and with questions, ms per second",
        format!("{:.0}, {:.0}", before / seconds, after / seconds),
    );
    let each_us = (after - before) * 1e3 / (keda.len() + api.len()) as f64;
    section.add("CPU time of the owner for each question", format!("{each_us:.0} µs"));
    for (name, rounds) in [("without", without), ("with", with)] {
        let delays: Vec<f64> = rounds.iter().flat_map(|round| round.delays_ms.iter().copied()).collect();
        let name = format!("bookings are known through the owner after, {name} questions, p50, p99, longest");
        section.add(name, format_ms(&delays));
    }
    for (name, rounds) in [("without", without), ("with", with)] {
        let idle: Vec<f64> = rounds.iter().map(|round| round.machine_load.idle_share * 100.0).collect();
        section
            .add(format!("idle share of the machine, {name} questions"), format!("{:.0} %", median(&idle)));
    }
    section
}

fn format_ms(values: &[f64]) -> String {
    format!("{:.2} ms, {:.2} ms, {:.1} ms", median(values), quantile(values, 0.99), largest(values))
}
