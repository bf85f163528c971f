//! A follower of the pool in this process: the same code as an EPP replica has, but for what it does with what it hears.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use signalbox_peers::{Event, Listening, Settings, Subject, Tell, follow};
use signalbox_state::{
    Change, Follower, FollowerEffect, FollowerEvent, Frame, FrameSource, FromAggregator, JournalBounds,
    JournaledReplica,
};
use signalbox_tls::Security;
use signalbox_types::{EndpointKey, Origin, PeerAddress};
use signalbox_wire::Hello;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

/// As much history as an EPP replica keeps.
const HISTORY: JournalBounds = JournalBounds { keep_bytes: 1 << 20, keep_pinned_bytes: 1 << 20 };

/// What was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// So many requests of a replica are in flight at an endpoint.
    Loaded { endpoint: EndpointKey, origin: Origin, requests: u32 },
    /// An endpoint says that so many requests wait there.
    Observed { endpoint: EndpointKey, waiting: u32 },
    /// An aggregator owns the pool under this epoch, as it says.
    Owned { epoch: u64 },
}

/// What was heard, and when it was applied.
#[derive(Clone, Copy, Debug)]
pub(crate) struct News {
    pub(crate) at: Instant,
    pub(crate) what: What,
}

/// A follower that tells what it hears.
#[derive(Debug)]
pub(crate) struct Ear {
    news: mpsc::UnboundedReceiver<News>,
    following: Arc<Mutex<Follower>>,
    _aggregators: watch::Sender<Vec<PeerAddress>>,
    tasks: [JoinHandle<()>; 2],
}

impl Ear {
    /// Follows whoever owns the pool among `aggregators`.
    pub(crate) fn follow(aggregators: &[SocketAddr]) -> Self {
        let peers = aggregators.iter().copied().map(PeerAddress::from).collect();
        let (aggregators, list) = watch::channel(peers);
        let hello = Hello { pool: None, name: "ear".to_owned() };
        let (events, streamed) = mpsc::unbounded_channel();
        let streams = follow(
            Settings {
                subject: Arc::new(Subject::of(&hello)),
                hello,
                aggregators: list,
                security: Security::Local,
            },
            move |event| match events.send(event) {
                Ok(()) => Listening::On,
                Err(_) => Listening::Over,
            },
        );
        let following = Arc::new(Mutex::new(Follower::new(JournaledReplica::new(HISTORY))));
        let (told, news) = mpsc::unbounded_channel();
        let listener = Listener {
            following: Arc::clone(&following),
            tells: BTreeMap::new(),
            epoch: 0,
            started: Instant::now(),
            told,
        };
        let tasks = [tokio::spawn(streams), tokio::spawn(listener.run(streamed))];
        Self { news, following, _aggregators: aggregators, tasks }
    }

    /// What is held now.
    pub(crate) fn held(&self) -> MutexGuard<'_, Follower> {
        self.following.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Requests in flight, as replicas gave them.
    pub(crate) fn in_flight(&self) -> u64 {
        let held = self.held();
        let endpoints = held.follower().replica().pool_state().endpoints();
        endpoints.map(|member| u64::from(member.load().requests)).sum()
    }

    /// All that was heard and not taken yet.
    pub(crate) fn drain(&mut self) -> Vec<News> {
        std::iter::from_fn(|| self.news.try_recv().ok()).collect()
    }

    /// Waits for news of which `wanted` makes something.
    ///
    /// # Errors
    /// When there are none in time.
    pub(crate) async fn wait<T>(
        &mut self,
        within: Duration,
        mut wanted: impl FnMut(News) -> Option<T>,
    ) -> anyhow::Result<T> {
        let waited = tokio::time::timeout(within, async {
            loop {
                let news = self.news.recv().await.context("the follower is gone")?;
                if let Some(found) = wanted(news) {
                    return Ok(found);
                }
            }
        });
        waited.await.context("what is waited for is not heard")?
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// The task that applies what comes.
struct Listener {
    following: Arc<Mutex<Follower>>,
    tells: BTreeMap<u64, Tell>,
    epoch: u64,
    started: Instant,
    told: mpsc::UnboundedSender<News>,
}

impl Listener {
    async fn run(mut self, mut streamed: mpsc::UnboundedReceiver<Event>) {
        while let Some(event) = streamed.recv().await {
            match event {
                Event::Opened { stream, tell, .. } => {
                    self.tells.insert(stream, tell);
                    self.hear(stream, FollowerEvent::Connected, Vec::new());
                }
                Event::Said { stream, said, permit } => {
                    let news = news_in(&said);
                    self.hear(stream, FollowerEvent::Said(said), news);
                    drop(permit);
                }
                Event::Closed { stream } => {
                    self.tells.remove(&stream);
                    self.hear(stream, FollowerEvent::Disconnected, Vec::new());
                }
            }
        }
    }

    /// Applies it, and tells what is new once it is applied.
    fn hear(&mut self, stream: u64, heard: FollowerEvent, mut news: Vec<What>) {
        let now_ms = self.started.elapsed().as_millis() as u64;
        let mut following = self.following.lock().unwrap_or_else(PoisonError::into_inner);
        let todos = following.hear(now_ms, FrameSource::Aggregator(stream), heard);
        let owned = following.owner(now_ms).map_or(0, |(_, epoch)| epoch);
        drop(following);
        let at = Instant::now();
        if !todos.contains(&FollowerEffect::Moved) {
            news.clear();
        }
        if owned > self.epoch {
            self.epoch = owned;
            news.push(What::Owned { epoch: owned });
        }
        for what in news {
            // Nobody may be there to be told any more.
            let _ = self.told.send(News { at, what });
        }
        for todo in todos {
            if let FollowerEffect::Tell(FrameSource::Aggregator(stream), said) = todo
                && let Some(tell) = self.tells.get(&stream)
            {
                tell.say(said);
            }
        }
    }
}

/// What is new once this is applied.
fn news_in(said: &FromAggregator) -> Vec<What> {
    let FromAggregator::Frame(Frame::Delta { changes, .. }) = said else { return Vec::new() };
    let news = changes.iter().filter_map(|change| match &**change {
        Change::LoadChanged { endpoint, origin, load } => {
            Some(What::Loaded { endpoint: *endpoint, origin: *origin, requests: load.requests })
        }
        Change::Observed { endpoint, observed } => {
            Some(What::Observed { endpoint: *endpoint, waiting: observed.gauges.waiting })
        }
        _ => None,
    });
    news.collect()
}
