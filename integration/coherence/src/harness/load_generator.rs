//! Generates requests at a constant rate, independent of earlier responses.

use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::gateway::{BookedRequest, GatewayClient};

/// What happens to a request once it is booked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestEnd {
    /// The request stays open until the end of the run.
    HoldOpen,
    /// The request ends after this time.
    After(Duration),
}

/// Requests to the replicas in turn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LoadGenerator {
    pub(crate) per_second: f64,
    pub(crate) duration: Duration,
    pub(crate) end: RequestEnd,
}

/// The booked requests.
#[derive(Debug, Default)]
pub(crate) struct LoadResult {
    pub(crate) requests: usize,
    /// The open requests, each with the position of its gateway.
    pub(crate) open: Vec<(usize, BookedRequest)>,
}

impl LoadGenerator {
    /// Sends requests with the bodies that `body` returns for their numbers; waits for all responses and, if
    /// the requests end, for their ends.
    ///
    /// # Errors
    /// Fails when a request gets no response.
    pub(crate) async fn run(
        self,
        gateways: &[GatewayClient],
        mut body: impl FnMut(u64) -> Bytes,
    ) -> anyhow::Result<LoadResult> {
        let mut ticks = interval(Duration::from_secs_f64(1.0 / self.per_second));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let until = Instant::now() + self.duration;
        let (mut requests, mut result) = (JoinSet::new(), LoadResult::default());
        for number in 0.. {
            if ticks.tick().await >= until {
                break;
            }
            let at = number as usize % gateways.len();
            let sent = send(gateways[at].clone(), body(number), self.end);
            requests.spawn(async move { anyhow::Ok((at, sent.await?)) });
            while let Some(done) = requests.try_join_next() {
                result.add(done.context("a request task panicked")??);
            }
        }
        while let Some(done) = requests.join_next().await {
            result.add(done.context("a request task panicked")??);
        }
        Ok(result)
    }
}

impl LoadResult {
    fn add(&mut self, (at, booked): (usize, Option<BookedRequest>)) {
        self.requests += 1;
        self.open.extend(booked.map(|booked| (at, booked)));
    }
}

async fn send(gateway: GatewayClient, body: Bytes, end: RequestEnd) -> anyhow::Result<Option<BookedRequest>> {
    let booked = gateway.route(body).await?;
    match end {
        RequestEnd::HoldOpen => Ok(Some(booked)),
        RequestEnd::After(time) => {
            sleep(time).await;
            booked.finish().await?;
            Ok(None)
        }
    }
}
