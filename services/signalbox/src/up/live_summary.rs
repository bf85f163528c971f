//! The live summary on a terminal: decisions, ownership, views, what waits, and the load of each endpoint.

use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use signalbox_aggregator::Aggregator;
use signalbox_epp::{DecisionTotals, Epp, QueueStatus, ViewStatus};
use signalbox_state::{EndpointState, RoleStatus, ScrapeStatus};
use signalbox_types::{Load, PPM};

use super::simulators::Scale;
use super::system::System;

/// Time between two updates of the summary.
const REFRESH_INTERVAL: Duration = Duration::from_millis(500);

/// Number of endpoints shown; the first by name.
const MAX_ENDPOINTS_SHOWN: usize = 16;

/// Number of views shown: one per replica.
const MAX_REPLICAS_SHOWN: usize = 4;

/// Number of priorities shown of which requests wait; the highest ones.
const MAX_BANDS_SHOWN: usize = 4;

/// Draws the summary until the future is dropped; with the number of simulators if it changes.
pub(super) async fn show(system: &System, is_autoscaled: bool) {
    let epps = &system.epps;
    let screen = MultiProgress::new();
    let style = ProgressStyle::with_template("  {msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
    let line = || screen.add(ProgressBar::new_spinner().with_style(style.clone()));
    let totals = line();
    let owner = line();
    let replicas = line();
    let queue = line();
    let simulators =
        system.simulators.as_ref().filter(|_| is_autoscaled).map(|simulators| (simulators, line()));
    let mut rows: Vec<ProgressBar> = Vec::new();
    let mut before = (Instant::now(), DecisionTotals::default());
    loop {
        let now = (Instant::now(), total(epps));
        totals.set_message(totals_line(before, now, epps.len()));
        before = now;
        owner.set_message(owner_line(&system.aggregators));
        replicas.set_message(replicas_line(epps));
        let first = epps.first().map(Epp::queue_statuses).unwrap_or_default();
        queue.set_message(queue_line(first.first()));
        if let Some((simulators, line)) = &simulators {
            line.set_message(scale_line(simulators.scale()));
        }
        let mut endpoints = epps.first().map(Epp::endpoints).unwrap_or_default();
        endpoints.sort_by(|(one, _), (other, _)| one.spec.name.cmp(&other.spec.name));
        rows.resize_with(endpoints.len().min(MAX_ENDPOINTS_SHOWN), line);
        for (row, (member, load)) in rows.iter().zip(&endpoints) {
            row.set_message(endpoint_line(member, *load));
        }
        tokio::time::sleep(REFRESH_INTERVAL).await;
    }
}

fn total(epps: &[Epp]) -> DecisionTotals {
    epps.iter().map(Epp::decision_totals).fold(DecisionTotals::default(), |sum, totals| DecisionTotals {
        decisions: sum.decisions + totals.decisions,
        prompt_tokens: sum.prompt_tokens + totals.prompt_tokens,
        matched_tokens: sum.matched_tokens + totals.matched_tokens,
    })
}

fn totals_line(
    (then, before): (Instant, DecisionTotals),
    (now, totals): (Instant, DecisionTotals),
    replicas: usize,
) -> String {
    let seconds = (now - then).as_secs_f64().max(1e-3);
    let per_second = (totals.decisions - before.decisions) as f64 / seconds;
    let hit_percent = 100.0 * totals.matched_tokens as f64 / totals.prompt_tokens.max(1) as f64;
    let decisions = totals.decisions;
    format!(
        "{replicas} EPP replicas · {decisions} decisions, {per_second:.0}/s · prefix hits {hit_percent:.0} % of tokens"
    )
}

/// Returns which aggregator owns the pool, and its epoch.
fn owner_line(aggregators: &[Aggregator]) -> String {
    let owner = aggregators.iter().enumerate().find_map(|(index, aggregator)| {
        let statuses = aggregator.pool_statuses();
        statuses.into_iter().find_map(|(pool, status, _)| match status {
            RoleStatus::Owner(epoch) => Some(format!("aggregator {index} owns {pool} in epoch {epoch}")),
            RoleStatus::Standby | RoleStatus::TakingOver(_) => None,
        })
    });
    let owner = owner.unwrap_or_else(|| "no aggregator in this process owns the pool".to_owned());
    format!("{owner} · {} standbys", aggregators.len().saturating_sub(1))
}

/// Returns the version and the age of each replica's view.
fn replicas_line(epps: &[Epp]) -> String {
    let views = epps
        .iter()
        .enumerate()
        .flat_map(|(index, epp)| epp.view_statuses().into_iter().map(move |status| (index, status)));
    let statuses = views.take(MAX_REPLICAS_SHOWN).map(|(index, ViewStatus { version, age, is_degraded })| {
        let seq = version.map_or("no view".to_owned(), |version| format!("seq {}", version.seq));
        let degraded = if is_degraded { ", degraded" } else { "" };
        format!("epp {index} {seq}, {} ms old{degraded}", age.as_millis())
    });
    statuses.collect::<Vec<_>>().join(" · ")
}

/// Returns what waits for places, highest priority first, how full the pool is, and how fast the queue moves.
fn queue_line(status: Option<&QueueStatus>) -> String {
    let Some(QueueStatus { waiting, saturation, drained_per_second, grants_locally }) = status else {
        return "no request waits: flow control is off".to_owned();
    };
    let bands = waiting.iter().map(|(priority, requests)| format!("{requests} of priority {priority}"));
    let mut bands: Vec<String> = bands.collect();
    if bands.len() > MAX_BANDS_SHOWN {
        let more = waiting[MAX_BANDS_SHOWN..].iter().map(|(_, requests)| requests).sum::<u64>();
        bands.truncate(MAX_BANDS_SHOWN);
        bands.push(format!("{more} of lower ones"));
    }
    let waiting = if bands.is_empty() { "0".to_owned() } else { bands.join(", ") };
    let granted = if *grants_locally { " · no owner is heard" } else { "" };
    format!("waiting {waiting} · saturation {saturation:.2} · drain rate {drained_per_second:.0}/s{granted}")
}

/// Returns how many simulators the autoscaler wants, and how many there are.
fn scale_line(Scale { wanted, ready, starting, draining }: Scale) -> String {
    format!("simulators: {wanted} wanted · {ready} ready · {starting} starting · {draining} draining")
}

fn endpoint_line(member: &EndpointState, load: Load) -> String {
    let gauges = member.observed.gauges;
    let name = &member.spec.name;
    let (waiting, booked) = (gauges.waiting, load.requests);
    let known = |value: Option<u32>| value.map_or("-".to_owned(), |value| value.to_string());
    let (running, kv) = (known(gauges.running), known(gauges.kv_used_ppm.map(|used| used / (PPM / 100))));
    let scrape_status = match member.observed.scrape_status {
        _ if member.spec.is_draining => "draining",
        ScrapeStatus::Unknown => "not scraped",
        ScrapeStatus::Fresh => "fresh",
        ScrapeStatus::Stale => "stale",
        ScrapeStatus::Down => "down",
    };
    format!(
        "{name:<14} {scrape_status:<12} running {running:>4}  waiting {waiting:>4}  booked {booked:>4}  KV {kv:>3} %"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn simulators_are_counted_by_what_they_do() {
        let scale = Scale { wanted: 5, ready: 2, starting: 3, draining: 1 };
        assert_eq!("simulators: 5 wanted · 2 ready · 3 starting · 1 draining", scale_line(scale));
    }

    #[test]
    fn queue_shows_the_highest_priorities_and_counts_the_others() {
        let line = |waiting: &[(i32, u64)]| {
            let status =
                QueueStatus { waiting: waiting.to_vec(), saturation: 1.014, ..QueueStatus::default() };
            queue_line(Some(&status))
        };
        assert_eq!("waiting 0 · saturation 1.01 · drain rate 0/s", line(&[]));
        assert_eq!(
            "waiting 1 of priority 10, 2 of priority 0 · saturation 1.01 · drain rate 0/s",
            line(&[(10, 1), (0, 2)])
        );
        let many = line(&[(5, 1), (4, 1), (3, 1), (2, 1), (1, 7), (0, 8)]);
        assert!(many.contains("1 of priority 2, 15 of lower ones ·"), "{many}");
        assert_eq!("no request waits: flow control is off", queue_line(None));
    }
}
