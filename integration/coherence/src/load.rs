//! Requests at a steady pace, whatever becomes of those before.

use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::caller::{Booked, Caller};

/// What happens to a request once it is booked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It goes on until the end of all.
    Held,
    /// It ends after so long.
    After(Duration),
}

/// Requests to replicas in turn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) per_second: f64,
    pub(crate) time: Duration,
    pub(crate) ending: Ending,
}

/// Requests that were booked.
#[derive(Debug, Default)]
pub(crate) struct Harvest {
    pub(crate) requests: usize,
    /// Those that go on, each with the position of its caller.
    pub(crate) held: Vec<(usize, Booked)>,
}

impl Load {
    /// Sends requests with the bodies that `body` makes of their numbers, and waits for their answers, and their ends if they have one.
    ///
    /// # Errors
    /// When one is not answered.
    pub(crate) async fn run(
        self,
        callers: &[Caller],
        mut body: impl FnMut(u64) -> Bytes,
    ) -> anyhow::Result<Harvest> {
        let mut ticks = interval(Duration::from_secs_f64(1.0 / self.per_second));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let until = Instant::now() + self.time;
        let (mut requests, mut harvest) = (JoinSet::new(), Harvest::default());
        for number in 0.. {
            if ticks.tick().await >= until {
                break;
            }
            let at = number as usize % callers.len();
            let asked = one(callers[at].clone(), body(number), self.ending);
            requests.spawn(async move { anyhow::Ok((at, asked.await?)) });
            while let Some(done) = requests.try_join_next() {
                harvest.add(done.context("a request broke down")??);
            }
        }
        while let Some(done) = requests.join_next().await {
            harvest.add(done.context("a request broke down")??);
        }
        Ok(harvest)
    }
}

impl Harvest {
    fn add(&mut self, (at, booked): (usize, Option<Booked>)) {
        self.requests += 1;
        self.held.extend(booked.map(|booked| (at, booked)));
    }
}

async fn one(caller: Caller, body: Bytes, ending: Ending) -> anyhow::Result<Option<Booked>> {
    let booked = caller.ask(body).await?;
    match ending {
        Ending::Held => Ok(Some(booked)),
        Ending::After(time) => {
            sleep(time).await;
            booked.finish().await?;
            Ok(None)
        }
    }
}
