//! The live summary on a terminal: what each pod is doing, and what was decided.

use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use signalbox_aggregator::Aggregator;
use signalbox_epp::{Epp, Outlook, Tally};
use signalbox_state::{EndpointState, RoleStatus, ScrapeStatus};
use signalbox_types::PPM;

use super::system::System;

/// How often the summary is drawn.
const EVERY: Duration = Duration::from_millis(500);

/// Pods that are shown; of more, only the first.
const PODS_SHOWN: usize = 16;

/// Replicas whose view is shown.
const REPLICAS_SHOWN: usize = 4;

/// Draws the summary until it is dropped.
pub(super) async fn show(system: &System) {
    let epps = &system.epps;
    let screen = MultiProgress::new();
    let style = ProgressStyle::with_template("  {msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
    let line = || screen.add(ProgressBar::new_spinner().with_style(style.clone()));
    let totals = line();
    let owner = line();
    let replicas = line();
    let mut pods: Vec<ProgressBar> = Vec::new();
    let mut before = (Instant::now(), Tally::default());
    loop {
        let now = (Instant::now(), total(epps));
        totals.set_message(totals_line(before, now, epps.len()));
        before = now;
        owner.set_message(owner_line(&system.aggregators));
        replicas.set_message(replicas_line(epps));
        let mut endpoints = epps.first().map(Epp::endpoints).unwrap_or_default();
        endpoints.sort_by(|one, other| one.spec.name.cmp(&other.spec.name));
        pods.resize_with(endpoints.len().min(PODS_SHOWN), line);
        for (pod, member) in pods.iter().zip(&endpoints) {
            pod.set_message(pod_line(member));
        }
        tokio::time::sleep(EVERY).await;
    }
}

fn total(epps: &[Epp]) -> Tally {
    epps.iter().map(Epp::tally).fold(Tally::default(), |sum, tally| Tally {
        decisions: sum.decisions + tally.decisions,
        prompt_tokens: sum.prompt_tokens + tally.prompt_tokens,
        matched_tokens: sum.matched_tokens + tally.matched_tokens,
    })
}

fn totals_line((then, before): (Instant, Tally), (now, tally): (Instant, Tally), replicas: usize) -> String {
    let seconds = (now - then).as_secs_f64().max(1e-3);
    let per_second = (tally.decisions - before.decisions) as f64 / seconds;
    let hit_percent = 100.0 * tally.matched_tokens as f64 / tally.prompt_tokens.max(1) as f64;
    let decisions = tally.decisions;
    format!(
        "{replicas} EPP replicas · {decisions} decisions, {per_second:.0}/s · prefix hits {hit_percent:.0} % of tokens"
    )
}

/// Who owns the pool, and under which epoch.
fn owner_line(aggregators: &[Aggregator]) -> String {
    let owner = aggregators.iter().enumerate().find_map(|(index, aggregator)| {
        let standings = aggregator.standings();
        standings.into_iter().find_map(|(pool, standing, _)| match standing {
            RoleStatus::Owner(epoch) => Some(format!("aggregator {index} owns {pool} under epoch {epoch}")),
            RoleStatus::Standby | RoleStatus::TakingOver(_) => None,
        })
    });
    let owner = owner.unwrap_or_else(|| "no aggregator here owns the pool".to_owned());
    format!("{owner} · {} standing by", aggregators.len().saturating_sub(1))
}

/// At which version each replica's view is, and how old that is.
fn replicas_line(epps: &[Epp]) -> String {
    let outlooks = epps.iter().take(REPLICAS_SHOWN).enumerate().map(|(index, epp)| {
        let Outlook { version, age, is_degraded } = epp.outlook();
        let seq = version.map_or("no view".to_owned(), |version| format!("seq {}", version.seq));
        let degraded = if is_degraded { ", degraded" } else { "" };
        format!("epp {index} {seq}, {} ms old{degraded}", age.as_millis())
    });
    outlooks.collect::<Vec<_>>().join(" · ")
}

fn pod_line(member: &EndpointState) -> String {
    let gauges = member.observed.gauges;
    let name = &member.spec.name;
    let (waiting, running, booked) = (gauges.waiting, gauges.running, member.load().requests);
    let kv = gauges.kv_used_ppm.map_or("?".to_owned(), |used| format!("{}", used / (PPM / 100)));
    let scrape_status = match member.observed.scrape_status {
        ScrapeStatus::Unknown => "not read yet",
        ScrapeStatus::Fresh => "fresh",
        ScrapeStatus::Stale => "stale",
        ScrapeStatus::Down => "down",
    };
    format!(
        "{name:<14} {scrape_status:<12} running {running:>4}  waiting {waiting:>4}  booked {booked:>4}  KV {kv:>3} %"
    )
}
