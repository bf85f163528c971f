//! What it costs that replicas know of each other: bytes, and the owner's time.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bytes::Bytes;
use signalbox_integration::eventually;

use crate::account::Account;
use crate::caller::Caller;
use crate::counting::Passed;
use crate::figures::line_through;
use crate::line::{Layout, Line};
use crate::load::{Ending, Load};
use crate::prompts::body;
use crate::report::{Section, Verdict};
use crate::strain::{Probe, Strain};

/// The last replica serves nobody: it only hears of the others' requests.
const LAYOUT: Layout =
    Layout { pods: 16, kv_capacity_tokens: 524_288, aggregators: 1, collectors: 1, replicas: 3 };

/// At the first rate hardly two requests share a frame, at the second some do.
const RATES: [f64; 2] = [20.0, 200.0];

/// New blocks at the end of a prompt.
const NEW_BLOCKS: [usize; 4] = [0, 16, 64, 256];

/// Prompts that are known, of 64 to 127 blocks: most do not end where a chain can be named by one block.
const CONVERSATIONS: u64 = 200;

const IDLE: Duration = Duration::from_secs(15);
const PHASE: Duration = Duration::from_secs(15);

/// How long a request is booked.
const SERVED: Duration = Duration::from_millis(300);

/// What is still on its way when all bookings have ended.
const SETTLE: Duration = Duration::from_millis(300);

const GOAL_BYTES: f64 = 300.0;
const GOAL_BYTES_PER_BLOCK: f64 = 9.0;

/// Measures it.
///
/// # Errors
/// When the processes do not do what they should.
pub(crate) async fn measure() -> anyhow::Result<Section> {
    let line = Line::start(LAYOUT).await?;
    let callers = line.callers().await?;
    let served = &callers[..callers.len() - 1];
    let teach = Load { per_second: 100.0, time: Duration::from_secs(2), ending: Ending::After(SERVED) };
    let taught = teach.run(served, known).await?.requests as u64;
    ensure!(taught >= CONVERSATIONS, "only {taught} prompts are known");
    let idle = Meter::start(&line)?;
    tokio::time::sleep(IDLE).await;
    let idle = idle.end(&line, 0)?;
    let mut section = Section::new("What it costs");
    section.tell(
        "without requests, a second and replica: to it, from it (beats, metrics of pods, signs of life)",
        format!("{:.0} B, {:.0} B", idle.to_passive / idle.seconds, idle.from_each / idle.seconds),
    );
    section.tell(
        "without requests: the owner's time",
        format!("{:.1} ms a second", idle.owner_ms / idle.seconds),
    );
    for per_second in RATES {
        let mut phases = Vec::new();
        for new_blocks in NEW_BLOCKS {
            phases.push((new_blocks, phase(&line, served, per_second, new_blocks).await?.less(&idle)));
        }
        judge(&mut section, per_second, &phases);
    }
    section.note(
        "Bytes of TCP payload, HTTP/2 and gRPC framing included, on the connection between a replica and the owner; what passes \
         without requests is taken off. A request is booked, and let go after 300 ms.",
    );
    Ok(section)
}

/// The request with this number, whose prompt is known.
fn known(number: u64) -> Bytes {
    body(number % CONVERSATIONS, length(number), 0, 0)
}

fn length(number: u64) -> usize {
    64 + (number % CONVERSATIONS * 37 % 64) as usize
}

fn judge(section: &mut Section, per_second: f64, phases: &[(usize, Phase)]) {
    let at = format!("{per_second:.0} requests a second");
    let (_, known) = &phases[0];
    let each = known.to_passive / known.requests;
    let (goal, verdict) = (format!("≤ {GOAL_BYTES} B"), Verdict::at_most(each, GOAL_BYTES));
    section.judge(
        format!("{at}, prompts known: to a replica, for each request of any"),
        format!("{each:.0} B"),
        &goal,
        verdict,
    );
    let own = known.from_each / (known.requests / (LAYOUT.replicas - 1) as f64);
    let verdict = Verdict::at_most(own, GOAL_BYTES);
    section.judge(
        format!("{at}, prompts known: from a replica, for each of its own"),
        format!("{own:.0} B"),
        &goal,
        verdict,
    );
    let points: Vec<_> =
        phases.iter().map(|(blocks, phase)| (*blocks as f64, phase.to_passive / phase.requests)).collect();
    let (_, slope) = line_through(&points);
    let (goal, verdict) =
        (format!("≤ {GOAL_BYTES_PER_BLOCK} B"), Verdict::at_most(slope, GOAL_BYTES_PER_BLOCK));
    section.judge(format!("{at}: to a replica, for each new block"), format!("{slope:.2} B"), &goal, verdict);
    let cpu = |phase: &Phase| phase.owner_ms * 1e3 / phase.requests;
    let told = phases.iter().map(|(blocks, phase)| format!("{:.0} µs ({blocks})", cpu(phase)));
    section.tell(
        format!("{at}: the owner's time for a booking and its end (new blocks)"),
        told.collect::<Vec<_>>().join(", "),
    );
    let strains = phases
        .iter()
        .filter_map(|(_, phase)| phase.strain)
        .map(|strain| format!("{:.0} %", strain.idle_share * 100.0));
    section.tell(format!("{at}: machine idle"), strains.collect::<Vec<_>>().join(", "));
}

/// What passed and what it took.
#[derive(Clone, Copy, Debug)]
struct Phase {
    seconds: f64,
    requests: f64,
    /// Bytes to the replica that serves nobody.
    to_passive: f64,
    /// Bytes from one of those that serve, on average.
    from_each: f64,
    owner_ms: f64,
    strain: Option<Strain>,
}

impl Phase {
    /// Without what passes anyway.
    fn less(self, idle: &Self) -> Self {
        let share = self.seconds / idle.seconds;
        Self {
            to_passive: self.to_passive - idle.to_passive * share,
            from_each: self.from_each - idle.from_each * share,
            owner_ms: self.owner_ms - idle.owner_ms * share,
            ..self
        }
    }
}

async fn phase(line: &Line, callers: &[Caller], per_second: f64, new_blocks: usize) -> anyhow::Result<Phase> {
    let load = Load { per_second, time: PHASE, ending: Ending::After(SERVED) };
    // Numbers of their own for each phase: a block is new once.
    let first = (new_blocks as u64) << 40 | (per_second as u64) << 28;
    let (meter, probe) = (Meter::start(line)?, Probe::start()?);
    let bodies = |number| body(number % CONVERSATIONS, length(number), first + number, new_blocks);
    let requests = load.run(callers, bodies).await?.requests;
    let check = async || {
        let booked = line.page(&line.aggregators[0]).await?.sum("signalbox_aggregator_in_flight_requests");
        ensure!(booked == Some(0.0), "{booked:?} requests are booked");
        Ok(())
    };
    eventually("bookings end", check).await?;
    tokio::time::sleep(SETTLE).await;
    Ok(Phase { strain: Some(probe.end()?), ..meter.end(line, requests)? })
}

/// A measurement that goes on.
struct Meter {
    begun: Instant,
    passed: Vec<Passed>,
    owner: Account,
}

impl Meter {
    fn start(line: &Line) -> anyhow::Result<Self> {
        let owner = Account::of(line.aggregators[0].id()?)?;
        Ok(Self { begun: Instant::now(), passed: passed(line)?, owner })
    }

    fn end(self, line: &Line, requests: usize) -> anyhow::Result<Phase> {
        let now = passed(line)?;
        let since: Vec<_> = now.iter().zip(&self.passed).map(|(now, before)| now.since(*before)).collect();
        let (passive, serving) = since.split_last().context("there are replicas")?;
        let from_all: u64 = serving.iter().map(|passed| passed.up_bytes).sum();
        let owner = Account::of(line.aggregators[0].id()?)?;
        Ok(Phase {
            seconds: self.begun.elapsed().as_secs_f64(),
            requests: requests as f64,
            to_passive: passive.down_bytes as f64,
            from_each: from_all as f64 / serving.len() as f64,
            owner_ms: owner.ran_since(self.owner).as_secs_f64() * 1e3,
            strain: None,
        })
    }
}

fn passed(line: &Line) -> anyhow::Result<Vec<Passed>> {
    let links = line.replicas.iter().map(|replica| replica.link.as_ref().map(|link| link.passed()));
    links.collect::<Option<_>>().context("a replica has no link")
}
