//! How soon a new replica knows what its peers know.

use std::time::{Duration, Instant};

use futures_util::stream::{TryStreamExt, iter};

use crate::caller::Caller;
use crate::figures::{largest, median};
use crate::line::{Layout, Line, Replica};
use crate::prompts::body;
use crate::report::{Section, Verdict};
use crate::strain::Probe;

const LAYOUT: Layout =
    Layout { pods: 100, kv_capacity_tokens: 524_288, aggregators: 1, collectors: 1, replicas: 2 };

/// Prompts that the pool knows, and how long each is: 100 pods with 4,096 blocks each.
const PROMPTS: u64 = 3_200;
const BLOCKS: usize = 128;

/// Requests at once while the index is filled.
const AT_ONCE: usize = 16;

const REPETITIONS: u64 = 5;

/// Prompts by which hit rates are compared.
const ASKED: u64 = 100;

/// Hit rates that differ by less are the same.
const TOLERANCE: f64 = 0.01;

/// By then it is given up.
const DEADLINE: Duration = Duration::from_secs(20);

const GOAL_S: f64 = 5.0;

/// Measures it.
///
/// # Errors
/// When the processes do not do what they should.
pub(crate) async fn measure() -> anyhow::Result<Section> {
    let mut line = Line::start(LAYOUT).await?;
    let callers = line.callers().await?;
    fill(&callers).await?;
    let blocks = line.page(&line.replicas[0].service).await?.sum("signalbox_epp_index_blocks").unwrap_or(0.0);
    let probe = Probe::start()?;
    let mut starts = Vec::new();
    for number in 0..REPETITIONS {
        starts.push(start(&mut line, &callers[0], number).await?);
    }
    let mut section = Section::new("Start of a replica");
    section.tell("pods, and distinct blocks of prompt in the index", format!("{}, {blocks:.0}", LAYOUT.pods));
    let of = |figure: fn(&Start) -> f64| starts.iter().map(figure).collect::<Vec<_>>();
    let told = |values: &[f64]| format!("{:.2} s, {:.2} s", median(values), largest(values));
    section.tell(
        format!("process started to ready, median and longest of {REPETITIONS}"),
        told(&of(|start| start.ready_s)),
    );
    let warm_s = of(|start| start.warm_s);
    let (goal, verdict) = (format!("≤ {GOAL_S} s"), Verdict::at_most(largest(&warm_s), GOAL_S));
    section.judge(
        format!("process started to {ASKED} known prompts asked at its peers' hit rate"),
        told(&warm_s),
        &goal,
        verdict,
    );
    let rates = (median(&of(|start| start.hit_rate)), median(&of(|start| start.peers_hit_rate)));
    section.tell(
        "hit rate then, and its peer's for the same prompts",
        format!("{:.4}, {:.4}", rates.0, rates.1),
    );
    let megabytes = median(&of(|start| start.down_bytes)) / 1e6;
    section.tell("sent to it until then", format!("{megabytes:.1} MB"));
    section.note(format!("{}.", probe.end()?));
    Ok(section)
}

/// Has every prompt placed once.
async fn fill(callers: &[Caller]) -> anyhow::Result<()> {
    let asked = (0..PROMPTS).map(|number| {
        let caller = callers[number as usize % callers.len()].clone();
        Ok(async move { caller.ask(body(number, BLOCKS, 0, 0)).await?.finish().await })
    });
    iter(asked).try_buffer_unordered(AT_ONCE).try_collect::<Vec<()>>().await?;
    Ok(())
}

/// What came of one start.
struct Start {
    ready_s: f64,
    warm_s: f64,
    hit_rate: f64,
    peers_hit_rate: f64,
    down_bytes: f64,
}

async fn start(line: &mut Line, peer: &Caller, number: u64) -> anyhow::Result<Start> {
    let mut newcomer = line.replica().await?;
    let begun = Instant::now();
    newcomer.service.start(&line.scratch).await?;
    let ready_s = begun.elapsed().as_secs_f64();
    let caller = Caller::connect(newcomer.ext_proc).await?;
    let mut first = number * 1_000;
    loop {
        let hit_rate = hit_rate(line, &newcomer, &caller, first).await?;
        let warm_s = begun.elapsed().as_secs_f64();
        let peers_hit_rate = self::hit_rate(line, &line.replicas[0], peer, first).await?;
        if hit_rate >= peers_hit_rate - TOLERANCE || begun.elapsed() > DEADLINE {
            let down_bytes = newcomer.link.as_ref().map_or(0, |link| link.passed().down_bytes) as f64;
            newcomer.service.terminate().await?;
            return Ok(Start { ready_s, warm_s, hit_rate, peers_hit_rate, down_bytes });
        }
        first += ASKED;
    }
}

/// The share of their tokens that the picked endpoints hold, of known prompts beginning with `first`.
async fn hit_rate(line: &Line, replica: &Replica, caller: &Caller, first: u64) -> anyhow::Result<f64> {
    let before = tokens(line, replica).await?;
    for number in first..first + ASKED {
        caller.ask(body(number * 7 % PROMPTS, BLOCKS, 0, 0)).await?.finish().await?;
    }
    let after = tokens(line, replica).await?;
    Ok((after.1 - before.1) / (after.0 - before.0))
}

/// Of all prompts, and of those how many the picked endpoints held.
async fn tokens(line: &Line, replica: &Replica) -> anyhow::Result<(f64, f64)> {
    let page = line.page(&replica.service).await?;
    let value = |name: &str| page.sum(&format!("signalbox_epp_{name}_tokens_total")).unwrap_or(0.0);
    Ok((value("prompt"), value("matched")))
}
