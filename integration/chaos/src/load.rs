//! Steady load: as many requests each second, whatever becomes of those before, each read to its end and looked at.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bytes::Bytes;
use http::Method;
use http_body_util::BodyExt;
use serde_json::json;
use signalbox_integration::{Answer, Client, MODEL, Upload};
use tokio::task::{JoinHandle, JoinSet};

/// Time between two requests.
const PAUSE: Duration = Duration::from_millis(25);

/// A request that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Prompts begin in one of so many ways.
const BEGINNINGS: u64 = 12;

/// Words that all prompts of a beginning share: some thirty blocks.
const SHARED_WORDS: u64 = 1_500;

/// What became of a request that was not answered as it should have been.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    /// Whether a response had begun: then nobody can repeat the request.
    pub(crate) began: bool,
    pub(crate) sent: Instant,
    pub(crate) at: Instant,
    pub(crate) why: String,
}

impl Failure {
    /// For people: when, counted from the beginning of the fault, and why.
    pub(crate) fn told(&self, begun: Instant) -> String {
        let after_s = self.at.saturating_duration_since(begun).as_secs_f64();
        let sent_s = self.at.duration_since(self.sent).as_secs_f64();
        format!("after {after_s:.2} s, sent {sent_s:.2} s before: {}", self.why)
    }
}

/// What became of all requests.
#[derive(Debug, Default)]
pub(crate) struct Harvest {
    pub(crate) requests: usize,
    pub(crate) failures: Vec<Failure>,
    /// The longest time from a request to the beginning of its answer.
    pub(crate) slowest: Duration,
}

/// Load that goes on until it is stopped.
#[derive(Debug)]
pub(crate) struct Load {
    stopped: Arc<AtomicBool>,
    sowing: JoinHandle<Harvest>,
}

impl Load {
    /// Sends requests to `url` from now on.
    pub(crate) fn start(client: Client, url: &str) -> Self {
        let stopped = Arc::new(AtomicBool::new(false));
        let sowing = tokio::spawn(sow(client, format!("{url}/v1/completions"), Arc::clone(&stopped)));
        Self { stopped, sowing }
    }

    /// Sends no more, and waits for all that were sent.
    ///
    /// # Errors
    /// When the load itself broke down.
    pub(crate) async fn stop(self) -> anyhow::Result<Harvest> {
        self.stopped.store(true, Ordering::Relaxed);
        self.sowing.await.context("the load broke down")
    }
}

async fn sow(client: Client, url: String, stopped: Arc<AtomicBool>) -> Harvest {
    let mut requests = JoinSet::new();
    let mut beat = tokio::time::interval(PAUSE);
    let mut harvest = Harvest::default();
    for number in 0.. {
        beat.tick().await;
        if stopped.load(Ordering::Relaxed) {
            break;
        }
        requests.spawn(one(client.clone(), url.clone(), number));
        while let Some(Ok(done)) = requests.try_join_next() {
            harvest.add(done);
        }
    }
    for done in requests.join_all().await {
        harvest.add(done);
    }
    harvest
}

impl Harvest {
    fn add(&mut self, done: Result<Duration, Failure>) {
        self.requests += 1;
        match done {
            Ok(waited) => self.slowest = self.slowest.max(waited),
            Err(failure) => self.failures.push(failure),
        }
    }
}

/// What a request wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    /// One document, soon.
    Whole,
    /// A stream of half a second.
    Stream,
    /// A stream of some seconds.
    LongStream,
}

impl Wish {
    /// Half of them want one document, four of ten a stream, one of ten a long one.
    fn of(number: u64) -> Self {
        match number % 10 {
            0 => Self::LongStream,
            number if number % 2 == 0 => Self::Stream,
            _ => Self::Whole,
        }
    }

    fn max_tokens(self) -> u64 {
        match self {
            Self::Whole => 8,
            Self::Stream => 60,
            Self::LongStream => 400,
        }
    }

    fn body(self, number: u64) -> Bytes {
        let shared: String =
            (0..SHARED_WORDS).map(|word| format!("{:x} ", word * 31 + number % BEGINNINGS)).collect();
        let prompt = format!("{shared} and this is number {number}");
        let stream = self != Self::Whole;
        let body =
            json!({ "model": MODEL, "prompt": prompt, "max_tokens": self.max_tokens(), "stream": stream });
        body.to_string().into()
    }

    /// Makes sure that nothing of the answer is missing.
    fn check(self, answer: Answer) -> anyhow::Result<()> {
        let answer = answer.ok()?;
        if self == Self::Whole {
            let tokens = answer.json()?["usage"]["completion_tokens"].as_u64();
            ensure!(tokens == Some(self.max_tokens()), "{tokens:?} of {} tokens", self.max_tokens());
        } else {
            answer.events()?;
        }
        Ok(())
    }
}

/// Sends one, and says how long its answer took to begin.
async fn one(client: Client, url: String, number: u64) -> Result<Duration, Failure> {
    let (mut began, sent) = (None, Instant::now());
    let asked = tokio::time::timeout(PATIENCE, ask(&client, &url, number, &mut began)).await;
    let asked = asked.unwrap_or_else(|_| Err(anyhow::anyhow!("no end within {} s", PATIENCE.as_secs())));
    let failure = |error| {
        let why = format!("{error:#}");
        Failure { began: began.is_some(), sent, at: Instant::now(), why }
    };
    asked.map_err(failure)?;
    Ok(began.map_or(Duration::ZERO, |began| began - sent))
}

async fn ask(client: &Client, url: &str, number: u64, began: &mut Option<Instant>) -> anyhow::Result<()> {
    let wish = Wish::of(number);
    let response = client.begin(Method::POST, url, wish.body(number), Upload::Whole).await?;
    *began = response.status().is_success().then(Instant::now);
    let (parts, body) = response.into_parts();
    let body = body.collect().await.context("the answer breaks off")?.to_bytes();
    wish.check(Answer { status: parts.status, headers: parts.headers, body })
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, StatusCode};
    use signalbox_integration::Answer;

    use super::Wish;

    fn answer(body: &'static str) -> Answer {
        Answer { status: StatusCode::OK, headers: HeaderMap::new(), body: body.into() }
    }

    #[test]
    fn answers_that_lack_their_end_are_found_out() {
        assert!(Wish::Stream.check(answer("data: {}\n\ndata: [DONE]\n\n")).is_ok());
        assert!(Wish::Stream.check(answer("data: {}\n\n")).is_err());
        assert!(Wish::Whole.check(answer(r#"{"usage":{"completion_tokens":8}}"#)).is_ok());
        assert!(Wish::Whole.check(answer(r#"{"usage":{"completion_tokens":7}}"#)).is_err());
        let refused = Answer { status: StatusCode::SERVICE_UNAVAILABLE, ..answer("") };
        assert!(Wish::Whole.check(refused).is_err());
    }

    #[test]
    fn prompts_of_a_beginning_share_all_but_their_end() {
        let text = |number| String::from_utf8(Wish::Whole.body(number).to_vec()).unwrap();
        let common = |one: &str, other: &str| {
            one.bytes().zip(other.bytes()).take_while(|(one, other)| one == other).count()
        };
        assert!(common(&text(1), &text(13)) > 6_000);
        assert!(common(&text(1), &text(3)) < 100);
    }
}
