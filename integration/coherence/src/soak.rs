//! Whether memory stays where it is while pods and prompts come and go.

use std::time::{Duration, Instant};

use signalbox_integration::write_endpoints;

use crate::account::resident_bytes;
use crate::caller::Caller;
use crate::figures::line_through;
use crate::line::{Layout, Line};
use crate::load::{Ending, Load};
use crate::prompts::body;
use crate::report::{Section, Verdict};
use crate::strain::Probe;

/// Their caches are full within a minute and the owner's journal within some: from then on what is new takes the place of something else.
const LAYOUT: Layout =
    Layout { pods: 40, kv_capacity_tokens: 65_536, aggregators: 2, collectors: 2, replicas: 3 };

const LOAD: Load =
    Load { per_second: 100.0, time: Duration::ZERO, ending: Ending::After(Duration::from_secs(2)) };

/// Each request goes on with one of so many conversations, of which there are others after a while.
const CONVERSATIONS: u64 = 300;
const REQUESTS_EACH: u64 = 100;
const KNOWN_BLOCKS: usize = 32;
const NEW_BLOCKS: usize = 24;

/// So many pods are not listed, others after each pause.
const PODS_OUT: usize = 8;
const CHURN_PAUSE: Duration = Duration::from_secs(10);

const SAMPLE_PAUSE: Duration = Duration::from_secs(2);

/// Flat is what grows by less than this share of itself in an hour.
const SHARE_PER_HOUR: f64 = 0.1;

const MEBIBYTE: f64 = (1 << 20) as f64;

/// Measures it for so long.
///
/// # Errors
/// When the processes do not do what they should.
pub(crate) async fn measure(time: Duration) -> anyhow::Result<Section> {
    let line = Line::start(LAYOUT).await?;
    let callers = line.callers().await?;
    let probe = Probe::start()?;
    let load = Load { time, ..LOAD };
    let (requests, churned, memories) =
        tokio::join!(requests(load, &callers), churn(&line, time), sample(&line, time));
    let (requests, churned, memories) = (requests?, churned?, memories?);
    let mut section = Section::new("Memory");
    section.tell(
        "time, requests, times that pods left and others came back",
        format!("{} s, {requests}, {churned}", time.as_secs()),
    );
    for memory in memories {
        let (slope, allowed) = (memory.slope_per_hour(), memory.last() * SHARE_PER_HOUR);
        let (first, middle, last) = (memory.first(), memory.middle(), memory.last());
        let measured = format!("{first:.1} → {middle:.1} → {last:.1} MiB, {slope:+.1} MiB/h");
        let goal = format!("≤ {allowed:.1} MiB/h");
        section.judge(memory.name, measured, &goal, Verdict::at_most(slope, allowed));
    }
    section.note(
        "Resident memory of each process when all had started, half way, and at the end; the slope is that of the second half, by least \
         squares. Flat is what would take ten hours to double.",
    );
    section.note(format!("{}.", probe.end()?));
    Ok(section)
}

async fn requests(load: Load, callers: &[Caller]) -> anyhow::Result<usize> {
    let bodies = |number: u64| {
        let conversation = number / (CONVERSATIONS * REQUESTS_EACH) * CONVERSATIONS + number % CONVERSATIONS;
        body(conversation, KNOWN_BLOCKS, number, NEW_BLOCKS)
    };
    Ok(load.run(callers, bodies).await?.requests)
}

/// Lists other pods again and again.
async fn churn(line: &Line, time: Duration) -> anyhow::Result<usize> {
    let (begun, mut turns) = (Instant::now(), 0);
    let pods = line.fleet.pods();
    while begun.elapsed() + CHURN_PAUSE < time {
        tokio::time::sleep(CHURN_PAUSE).await;
        turns += 1;
        let out = turns * PODS_OUT % pods.len();
        let listed =
            pods.iter().enumerate().filter(|(at, _)| (at + pods.len() - out) % pods.len() >= PODS_OUT);
        write_endpoints(&line.scratch, listed.map(|(_, (name, address))| (name.as_str(), address.as_str())))?;
    }
    Ok(turns)
}

/// Memory of a process, in MiB, by hours.
#[derive(Clone, Debug)]
struct Memory {
    name: String,
    process: u32,
    samples: Vec<(f64, f64)>,
}

impl Memory {
    fn first(&self) -> f64 {
        self.samples.first().map_or(0.0, |sample| sample.1)
    }

    fn middle(&self) -> f64 {
        self.samples.get(self.samples.len() / 2).map_or(0.0, |sample| sample.1)
    }

    fn last(&self) -> f64 {
        self.samples.last().map_or(0.0, |sample| sample.1)
    }

    /// In the second half.
    fn slope_per_hour(&self) -> f64 {
        line_through(&self.samples[self.samples.len() / 2..]).1
    }
}

async fn sample(line: &Line, time: Duration) -> anyhow::Result<Vec<Memory>> {
    let replicas = line.replicas.iter().map(|replica| &replica.service);
    let services = line.aggregators.iter().chain(&line.collectors).chain(replicas);
    let memories = services.map(|service| {
        anyhow::Ok(Memory { name: service.name().to_owned(), process: service.id()?, samples: Vec::new() })
    });
    let mut memories = memories.collect::<Result<Vec<_>, _>>()?;
    let begun = Instant::now();
    while begun.elapsed() < time {
        for memory in &mut memories {
            let hours = begun.elapsed().as_secs_f64() / 3_600.0;
            memory.samples.push((hours, resident_bytes(memory.process)? as f64 / MEBIBYTE));
        }
        tokio::time::sleep(SAMPLE_PAUSE).await;
    }
    Ok(memories)
}

#[cfg(test)]
mod tests {
    use super::Memory;

    #[test]
    fn only_the_second_half_counts() {
        let samples = [(0.0, 10.0), (0.25, 90.0), (0.5, 100.0), (0.75, 100.5), (1.0, 101.0)];
        let memory = Memory { name: "epp-0".to_owned(), process: 1, samples: samples.to_vec() };
        assert!((memory.slope_per_hour() - 2.0).abs() < 1e-9);
        assert_eq!((memory.first() as u32, memory.middle() as u32, memory.last() as u32), (10, 100, 101));
    }
}
