//! How soon other collectors report what a dead one had.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bytes::Bytes;
use futures_util::future::try_join_all;
use signalbox_integration::{Client, eventually, write_endpoints};
use signalbox_types::EndpointKey;

use crate::counting::CountingProxy;
use crate::ear::{Ear, What};
use crate::figures::{largest, median};
use crate::line::{Layout, Line};
use crate::report::{Section, Verdict};
use crate::strain::Probe;

const LAYOUT: Layout =
    Layout { pods: 100, kv_capacity_tokens: 524_288, aggregators: 1, collectors: 2, replicas: 1 };

const REPETITIONS: u32 = 5;

/// What nobody reported by then is lost.
const WITHIN: Duration = Duration::from_secs(20);

/// So long nothing happens before a collector dies.
const CALM: Duration = Duration::from_secs(2);

const GOAL_S: f64 = 3.0;

/// Measures it.
///
/// # Errors
/// When the processes do not do what they should.
pub(crate) async fn measure() -> anyhow::Result<Section> {
    let mut line = Line::start(LAYOUT).await?;
    let doors = doors(&line).await?;
    let mut ear = Ear::follow(&line.addresses);
    let probe = Probe::start()?;
    let mut losses = Vec::new();
    for number in 1..=REPETITIONS {
        losses.push(lose(&mut line, &doors, &mut ear, number).await?);
    }
    let of = |figure: fn(&Loss) -> f64| losses.iter().map(figure).collect::<Vec<_>>();
    let (times_s, moved, kept) = (of(|loss| loss.time_s), of(|loss| loss.moved), of(|loss| loss.kept));
    let mut section = Section::new("Loss of a collector");
    section.tell(
        "pods, and how many of them the killed one of 2 collectors had",
        format!("{}, {:.0}", LAYOUT.pods, median(&moved)),
    );
    section.tell(
        format!("SIGKILL until all of those are reported by the other, median of {REPETITIONS}"),
        format!("{:.2} s", median(&times_s)),
    );
    let (goal, verdict) = (format!("≤ {GOAL_S} s"), Verdict::at_most(largest(&times_s), GOAL_S));
    section.judge("the longest", format!("{:.2} s", largest(&times_s)), &goal, verdict);
    let again = largest(&of(|loss| loss.again));
    let measured = format!("{again:.0} of {:.0}", median(&kept));
    section.judge(
        "pods of the other one to which a connection was opened meanwhile",
        measured,
        "0",
        Verdict::at_most(again, 0.0),
    );
    section.note(format!("{}.", probe.end()?));
    Ok(section)
}

/// A proxy in front of each pod, by the pod's name; the pods are listed with these.
async fn doors(line: &Line) -> anyhow::Result<BTreeMap<String, CountingProxy>> {
    let mut doors = BTreeMap::new();
    for (name, address) in line.fleet.pods() {
        doors.insert(name.clone(), CountingProxy::start(address.parse()?).await?);
    }
    let listed: Vec<_> = doors.iter().map(|(name, door)| (name, door.address().to_string())).collect();
    write_endpoints(&line.scratch, listed.iter().map(|(name, address)| (name.as_str(), address.as_str())))?;
    Ok(doors)
}

/// What came of one loss.
struct Loss {
    time_s: f64,
    moved: f64,
    kept: f64,
    /// Pods that the killed one did not have, and to which a connection was opened all the same.
    again: f64,
}

async fn lose(
    line: &mut Line,
    doors: &BTreeMap<String, CountingProxy>,
    ear: &mut Ear,
    number: u32,
) -> anyhow::Result<Loss> {
    until_spread(line, doors).await?;
    tokio::time::sleep(CALM).await;
    let before: BTreeMap<_, _> = doors.iter().map(|(name, door)| (name, door.connections())).collect();
    ear.drain();
    let begun = Instant::now();
    line.collectors[1].kill()?;
    // From now on pods say something else, so that whatever says it was read since.
    try_join_all(line.fleet.pods().iter().map(|(_, address)| pretend(&line.client, address, number))).await?;
    let mut left: Vec<EndpointKey> = doors.keys().map(|name| EndpointKey::of(name)).collect();
    let mut reported = BTreeMap::new();
    let all = ear.wait(WITHIN, |news| {
        if let What::Observed { endpoint, waiting } = news.what
            && waiting == number
        {
            reported.entry(endpoint).or_insert(news.at);
            left.retain(|wanted| *wanted != endpoint);
        }
        left.is_empty().then_some(())
    });
    all.await.context("not all pods are reported")?;
    let (mut loss, mut last) = (Loss { time_s: 0.0, moved: 0.0, kept: 0.0, again: 0.0 }, begun);
    for (name, door) in doors {
        let ((opened, closed), (opened_then, closed_then)) = (door.connections(), before[name]);
        if closed == closed_then {
            loss.kept += 1.0;
            loss.again += if opened == opened_then { 0.0 } else { 1.0 };
        } else {
            loss.moved += 1.0;
            last = last.max(reported[&EndpointKey::of(name)]);
        }
    }
    loss.time_s = (last - begun).as_secs_f64();
    line.collectors[1].start(&line.scratch).await?;
    Ok(loss)
}

/// Waits until each pod is read by one collector, and both have some.
async fn until_spread(line: &Line, doors: &BTreeMap<String, CountingProxy>) -> anyhow::Result<()> {
    line.until_fresh(LAYOUT.pods).await?;
    let check = async || {
        let mut had = Vec::new();
        for collector in &line.collectors {
            had.push(line.page(collector).await?.sum("signalbox_collector_endpoints").unwrap_or(0.0));
        }
        let all: f64 = had.iter().sum();
        ensure!(
            all == LAYOUT.pods as f64 && had.iter().all(|had| *had > 0.0),
            "collectors have {had:?} pods"
        );
        let one = doors.values().filter(|door| {
            let (opened, closed) = door.connections();
            opened == closed + 1
        });
        let one = one.count();
        ensure!(one == LAYOUT.pods, "{one} pods have one connection");
        Ok(())
    };
    eventually("pods are spread over both collectors", check).await
}

async fn pretend(client: &Client, address: &str, waiting: u32) -> anyhow::Result<()> {
    let faults = serde_json::json!({ "waiting": waiting }).to_string();
    client.post(&format!("http://{address}/admin/faults"), Bytes::from(faults)).await?.ok()?;
    Ok(())
}
