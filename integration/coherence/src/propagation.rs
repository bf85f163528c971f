//! How long it takes until other replicas know of a booking.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use signalbox_integration::eventually;
use signalbox_types::{EndpointKey, Origin};

use crate::account::Account;
use crate::caller::{Booked, Caller, finish_all};
use crate::delays::delays_ms;
use crate::ear::{Ear, News, What};
use crate::line::{Layout, Line};
use crate::load::{Ending, Load};
use crate::prompts::body;
use crate::report::Section;
use crate::rounds::{Round, section};
use crate::strain::Probe;

const LAYOUT: Layout =
    Layout { pods: 16, kv_capacity_tokens: 524_288, aggregators: 1, collectors: 1, replicas: 2 };

/// Requests a second that are tried, until the machine is half busy.
const RATES: [f64; 8] = [100.0, 200.0, 400.0, 800.0, 1_200.0, 1_600.0, 2_000.0, 2_500.0];

/// How idle it must be left.
const IDLE_SHARE: f64 = 0.5;

const TRIAL: Duration = Duration::from_secs(3);
const ROUND: Duration = Duration::from_secs(10);
const ROUNDS: usize = 5;
const ROUNDS_AT_MOST: usize = 10;

/// What was not heard by then is lost.
const SETTLE: Duration = Duration::from_millis(500);

/// Each request goes on with one of so many conversations, and says one block of its own.
const CONVERSATIONS: u64 = 200;
const KNOWN_BLOCKS: usize = 16;

/// Measures it.
///
/// # Errors
/// When the processes do not do what they should.
pub(crate) async fn measure() -> anyhow::Result<Section> {
    let mut stage = Stage::set().await?;
    let per_second = stage.find_rate().await?;
    let mut rounds: Vec<Round> = Vec::new();
    let undisturbed = |rounds: &[Round]| rounds.iter().filter(|round| round.is_undisturbed()).count();
    while undisturbed(&rounds) < ROUNDS && rounds.len() < ROUNDS_AT_MOST {
        rounds.push(stage.play(per_second, ROUND).await?);
    }
    Ok(section(per_second, ROUND, &rounds))
}

/// Everything that takes part.
struct Stage {
    line: Line,
    callers: Vec<Caller>,
    ear: Ear,
    /// Of each replica.
    origins: Vec<Origin>,
    endpoints: BTreeMap<SocketAddr, EndpointKey>,
    rounds: u64,
}

impl Stage {
    async fn set() -> anyhow::Result<Self> {
        let line = Line::start(LAYOUT).await?;
        let callers = line.callers().await?;
        let mut ear = Ear::follow(&line.addresses);
        let check = async || {
            let held = ear.held();
            let endpoints = held.follower().replica().pool_state().endpoints();
            let endpoints: BTreeMap<_, _> =
                endpoints.map(|member| (member.spec.address, member.key)).collect();
            ensure!(endpoints.len() == LAYOUT.pods, "{} endpoints are known", endpoints.len());
            Ok(endpoints)
        };
        let endpoints = eventually("this process follows the pool", check).await?;
        let mut origins = Vec::new();
        for caller in &callers {
            origins.push(origin(caller, &mut ear).await?);
        }
        Ok(Self { line, callers, ear, origins, endpoints, rounds: 0 })
    }

    /// The highest rate at which the machine is idle enough.
    async fn find_rate(&mut self) -> anyhow::Result<f64> {
        let mut found = RATES[0];
        for per_second in RATES {
            if self.play(per_second, TRIAL).await?.strain.idle_share < IDLE_SHARE {
                break;
            }
            found = per_second;
        }
        Ok(found)
    }

    /// One round. Its requests go on until it is over, so that gauges only grow.
    async fn play(&mut self, per_second: f64, time: Duration) -> anyhow::Result<Round> {
        self.ear.drain();
        self.rounds += 1;
        let (first, load) = (self.rounds << 24, Load { per_second, time, ending: Ending::Held });
        let accounts = self.accounts()?;
        let probe = Probe::start()?;
        let bodies = |number| body(number % CONVERSATIONS, KNOWN_BLOCKS, first + number, 1);
        let ages = view_ages(&self.line, time);
        let (harvest, ages_ms) = tokio::join!(load.run(&self.callers, bodies), ages);
        let (harvest, strain) = (harvest?, probe.end()?);
        let after = self.accounts()?;
        tokio::time::sleep(SETTLE).await;
        let delays_ms = self.delays_ms(&harvest.held)?;
        finish_all(harvest.held.into_iter().map(|(_, booked)| booked)).await?;
        let check = async || {
            let in_flight = self.ear.in_flight();
            ensure!(in_flight == 0, "{in_flight} requests are still booked");
            Ok(())
        };
        eventually("bookings end", check).await?;
        Ok(Round {
            bookings: harvest.requests,
            delays_ms,
            ages_ms: ages_ms?,
            owner_us_each: after.0.ran_since(accounts.0).as_secs_f64() * 1e6 / harvest.requests as f64,
            owner_wait_ms: after.0.mean_wait_ms_since(accounts.0),
            replica_wait_ms: after.1.mean_wait_ms_since(accounts.1),
            strain,
        })
    }

    /// Of the owner and of one replica.
    fn accounts(&self) -> anyhow::Result<(Account, Account)> {
        let replica = self.line.replicas[0].service.id()?;
        Ok((Account::of(self.line.aggregators[0].id()?)?, Account::of(replica)?))
    }

    fn delays_ms(&mut self, held: &[(usize, Booked)]) -> anyhow::Result<Vec<f64>> {
        let mut answered: BTreeMap<(Origin, EndpointKey), Vec<Instant>> = BTreeMap::new();
        for (caller, booked) in held {
            let endpoint = self.endpoints.get(&booked.endpoint).context("an unknown endpoint was picked")?;
            answered.entry((self.origins[*caller], *endpoint)).or_default().push(booked.at);
        }
        delays_ms(answered, &self.ear.drain())
    }
}

/// Finds out as whom a replica books, by the only booking there is.
async fn origin(caller: &Caller, ear: &mut Ear) -> anyhow::Result<Origin> {
    let booked = caller.ask(body(0, KNOWN_BLOCKS, 0, 1)).await?;
    let wanted = |news: News| match news.what {
        What::Loaded { origin, requests: 1, .. } => Some(origin),
        _ => None,
    };
    let found = ear.wait(Duration::from_secs(5), wanted).await?;
    booked.finish().await?;
    let is_over = |news: News| matches!(news.what, What::Loaded { requests: 0, .. }).then_some(());
    ear.wait(Duration::from_secs(5), is_over).await?;
    Ok(found)
}

/// How old the last replica's view is, by itself, again and again for so long.
async fn view_ages(line: &Line, time: Duration) -> anyhow::Result<Vec<f64>> {
    let (begun, mut ages_ms) = (Instant::now(), Vec::new());
    let replica = &line.replicas.last().context("there are replicas")?.service;
    while begun.elapsed() < time {
        let age = line.page(replica).await?.sum("signalbox_epp_view_age_seconds");
        ages_ms.push(age.context("the replica does not tell the age of its view")? * 1e3);
        tokio::time::sleep(Duration::from_millis(97)).await;
    }
    Ok(ages_ms)
}
