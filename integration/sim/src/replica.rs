//! The shell of an EPP replica: it follows all aggregators, takes requests, and feeds the owner.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rand::Rng;
use signalbox_state::{
    Booking, Bookings, FeedbackBatcher, Follower, FollowerEffect, FollowerEvent, FrameSource, GaugeScope,
    JournalBounds, JournaledReplica, Overlay, PlacedPrompt, ResponseOutcome, ResponseReport,
};
use signalbox_types::{EndpointKey, Origin};

use crate::counters::Happening;
use crate::network::{End, Kind, Payload};
use crate::peers::Peers;
use crate::plan::Node;
use crate::pods;
use crate::queue::Timer;
use crate::site::Site;

/// Feedback is sent at most so often.
const PACE_MS: u64 = 2;

/// All gauges are sent so often.
const WHOLE_EVERY_MS: u64 = 500;

/// Batches that may be on their way.
const WINDOW: usize = 64;

/// How much history is kept to be offered.
const HISTORY: JournalBounds = JournalBounds { keep_bytes: 1 << 20, keep_pinned_bytes: 1 << 20 };

struct Request {
    endpoint: EndpointKey,
    booking: Booking,
}

#[derive(Debug)]
struct Feed {
    stream: u64,
    /// The aggregator that it is to.
    at: usize,
    is_open: bool,
}

/// An EPP replica.
pub(crate) struct Replica {
    node: Node,
    life: u32,
    pub(crate) following: Follower,
    feeder: FeedbackBatcher,
    pub(crate) bookings: Bookings,
    pub(crate) overlay: Overlay,
    pub(crate) origin: Origin,
    bell: Arc<AtomicBool>,
    is_flush_due: bool,
    peers: Peers,
    feed: Option<Feed>,
    acknowledged: u64,
    requests: BTreeMap<u64, Request>,
    taken: u64,
    /// By the number that each was given.
    placed: Vec<PlacedPrompt>,
}

impl fmt::Debug for Replica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replica").field("node", &self.node).field("life", &self.life).finish_non_exhaustive()
    }
}

impl Replica {
    pub(crate) fn start(site: &mut Site, node: Node, life: u32) -> Self {
        let peers = Peers::new(node);
        peers.start(site);
        site.timer(node, 500, Timer::Watch);
        site.timer(node, WHOLE_EVERY_MS, Timer::FlushWhole);
        site.timer(node, 100, Timer::Tick);
        site.timer(node, 0, Timer::Request);
        let bell = Arc::new(AtomicBool::new(false));
        let ring = Arc::clone(&bell);
        Self {
            node,
            life,
            following: Follower::new(JournaledReplica::new(HISTORY)),
            feeder: FeedbackBatcher::default(),
            bookings: Bookings::new(Arc::new(move || ring.store(true, Ordering::Relaxed))),
            overlay: Overlay::default(),
            origin: Origin(site.queue.dice.random()),
            bell,
            is_flush_due: false,
            peers,
            feed: None,
            acknowledged: 0,
            requests: BTreeMap::new(),
            taken: 0,
            placed: Vec::new(),
        }
    }

    pub(crate) fn timer(&mut self, site: &mut Site, timer: Timer) {
        match timer {
            Timer::Tick => {
                self.look(site);
                site.timer(self.node, 100, Timer::Tick);
            }
            Timer::Connect(at) => self.peers.connect(site, at),
            Timer::Watch => {
                for stream in site.out_of_contact(self.node) {
                    site.close(stream, End::Client);
                    self.left(site, stream);
                }
                site.timer(self.node, 500, Timer::Watch);
            }
            Timer::Flush => {
                self.is_flush_due = false;
                self.flush(site, GaugeScope::Changed);
            }
            Timer::FlushWhole => {
                self.feeder.expire(site.now_ms(self.node), &self.overlay);
                self.flush(site, GaugeScope::Whole);
                site.timer(self.node, WHOLE_EVERY_MS, Timer::FlushWhole);
            }
            Timer::Request => self.request(site),
            Timer::Began(number) => self.began(site, number),
            Timer::Ended(number) if site.is_open => self.ended(site, number),
            _ => {}
        }
        self.heed_bell(site);
    }

    pub(crate) fn message(&mut self, site: &mut Site, stream: u64, payload: Payload) {
        let is_feed = self.feed.as_ref().is_some_and(|feed| feed.stream == stream);
        match payload {
            Payload::Opened if is_feed => {
                self.feed.iter_mut().for_each(|feed| feed.is_open = true);
                self.feeder.send_again();
                self.flush(site, GaugeScope::Whole);
            }
            Payload::Opened => {
                self.peers.opened(stream);
                self.hear(site, stream, FollowerEvent::Connected);
            }
            Payload::Down(said) => self.hear(site, stream, FollowerEvent::Said(said)),
            Payload::NeedChain(number) if is_feed => {
                self.feeder.need_chain(number);
                self.flush(site, GaugeScope::Changed);
            }
            Payload::Expired(origin) if is_feed => self.expired(site, origin),
            Payload::Closed => {
                site.close(stream, End::Client);
                self.left(site, stream);
            }
            _ => {}
        }
        self.heed_bell(site);
    }

    /// The owner has given this replica up.
    fn expired(&mut self, site: &mut Site, origin: Origin) {
        // Said once for each batch that was on its way.
        if origin != self.origin {
            return;
        }
        site.counters.count(Happening::Rebirth);
        site.checker.restarted(origin);
        self.origin = Origin(site.queue.dice.random());
        self.acknowledged = 0;
        self.feeder.send_again();
        self.flush(site, GaugeScope::Whole);
    }

    fn left(&mut self, site: &mut Site, stream: u64) {
        if self.feed.take_if(|feed| feed.stream == stream).is_none() && self.peers.closed(site, stream) {
            self.hear(site, stream, FollowerEvent::Disconnected);
        }
    }

    fn hear(&mut self, site: &mut Site, stream: u64, heard: FollowerEvent) {
        let now_ms = site.now_ms(self.node);
        site.note(|| {
            let text = format!("{heard:?}");
            let text: String = text.chars().take(200).collect();
            format!("{} at {:?} hears on {stream} {text}", self.node, self.following.follower().cursor())
        });
        for todo in self.following.hear(now_ms, FrameSource::Aggregator(stream), heard) {
            match todo {
                FollowerEffect::Tell(FrameSource::Aggregator(stream), said) => {
                    site.send(stream, End::Server, Payload::Up(said))
                }
                FollowerEffect::Tell(FrameSource::JournaledReplica(_), _) => {}
                FollowerEffect::Moved => self.moved(),
                FollowerEffect::Replaced => {
                    site.counters.count(Happening::ReplicaReplaced);
                    self.moved();
                }
                FollowerEffect::Missed(gap) => site.checker.missed(&mut site.counters, self.node, &gap),
            }
        }
        site.checker.follows((self.node, self.life), &self.following);
        self.look(site);
    }

    fn moved(&mut self) {
        let pool_state = self.following.follower().replica().pool_state();
        let acknowledged = pool_state.acknowledged(self.origin);
        if acknowledged != self.acknowledged {
            self.acknowledged = acknowledged;
            self.feeder.acknowledged(acknowledged, &self.overlay);
        }
    }

    /// Feedback goes to whoever owns the pool.
    fn look(&mut self, site: &mut Site) {
        let owner = self.following.owner(site.now_ms(self.node));
        let Some((FrameSource::Aggregator(stream), _)) = owner else { return };
        let Some(at) = self.peers.at(stream) else { return };
        if self.feed.as_ref().is_some_and(|feed| feed.at == at) {
            return;
        }
        if let Some(feed) = self.feed.take() {
            site.close(feed.stream, End::Client);
        }
        let stream = site.open(Kind::Feed, self.node, Node::Aggregator(at));
        self.feed = stream.map(|stream| Feed { stream, at, is_open: false });
    }

    fn heed_bell(&mut self, site: &mut Site) {
        if self.bell.swap(false, Ordering::Relaxed) && !std::mem::replace(&mut self.is_flush_due, true) {
            site.timer(self.node, PACE_MS, Timer::Flush);
        }
    }

    fn flush(&mut self, site: &mut Site, scope: GaugeScope) {
        let Some(feed) = self.feed.as_ref().filter(|feed| feed.is_open) else { return };
        let on_the_way =
            site.network.stream(feed.stream).map(|stream| stream.on_the_way[End::Server as usize]);
        if on_the_way.is_none_or(|batches| batches >= WINDOW) {
            self.bell.store(true, Ordering::Relaxed);
            return;
        }
        let changed = self.bookings.take_changed();
        let mut gauges = match scope {
            GaugeScope::Whole => self.bookings.whole(),
            GaugeScope::Changed => changed,
        };
        gauges.sort_unstable_by_key(|(endpoint, _)| *endpoint);
        let batch = self.feeder.batch(self.following.epoch(), self.origin, scope, gauges);
        if self.feeder.has_more() {
            self.bell.store(true, Ordering::Relaxed);
        }
        let Some(batch) = batch else { return };
        for placement in &batch.placements {
            let placed = self.placed[placement.number as usize - 1].clone();
            site.checker.placed(self.origin, placement.number, placed);
        }
        site.send(feed.stream, End::Server, Payload::Batch(batch));
    }

    /// A request comes, and is sent to an endpoint.
    fn request(&mut self, site: &mut Site) {
        if !site.is_open {
            return;
        }
        let after_ms = site.queue.dice.random_range(1..=2 * site.plan.request_every_ms);
        site.timer(self.node, after_ms, Timer::Request);
        let replica = self.following.follower().replica();
        let members: Vec<_> = replica.pool_state().endpoints().cloned().collect();
        if members.is_empty() || !self.feeder.has_room() {
            return;
        }
        let dice = &mut site.queue.dice;
        let chain = pods::chain(
            dice.random_range(1..4),
            dice.random_range(0..3) * 12,
            dice.random_range(0..6),
            dice.random_range(1..48),
        );
        let mut lookup = replica.pool_state().residents().index().lookup(&chain);
        self.overlay.extend(&chain, &mut lookup);
        let best = lookup
            .held
            .first()
            .filter(|_| dice.random())
            .and_then(|best| members.iter().find(|member| member.key == best.endpoint));
        let member = best.unwrap_or_else(|| &members[dice.random_range(0..members.len())]);
        let held = lookup.held.iter().find(|of| of.endpoint == member.key).map_or(0, |of| of.blocks);
        let began_ms = dice.random_range(1..200);
        let lasts_ms = began_ms + *[10, 300, 4_000].get(dice.random_range(0..3)).unwrap_or(&10);
        let (endpoint, incarnation) = (member.key, member.observed.incarnation);
        let booking = self.bookings.reserve(endpoint, chain.len() as u64 * 64);
        let placed = PlacedPrompt { endpoint, incarnation, chain, known: lookup.known, held };
        self.overlay.place(&placed);
        self.placed.push(placed.clone());
        self.feeder.placed(site.now_ms(self.node), placed);
        self.taken += 1;
        self.requests.insert(self.taken, Request { endpoint, booking });
        site.pods.runs(endpoint, 1);
        site.counters.count(Happening::Request);
        site.timer(self.node, began_ms, Timer::Began(self.taken));
        site.timer(self.node, lasts_ms, Timer::Ended(self.taken));
    }

    fn began(&mut self, site: &mut Site, number: u64) {
        let now_ms = site.now_ms(self.node);
        let Some(request) = self.requests.get_mut(&number) else { return };
        request.booking.prefilled(now_ms);
        let answered = if site.queue.dice.random_ratio(1, 50) {
            ResponseOutcome::Failed
        } else {
            ResponseOutcome::FirstOutput { work_tokens: 1_000, elapsed_us: 80_000 }
        };
        if self.feeder.has_room_for_remarks() {
            self.feeder.answered(ResponseReport { endpoint: request.endpoint, answered });
        }
    }

    fn ended(&mut self, site: &mut Site, number: u64) {
        if let Some(Request { endpoint, booking }) = self.requests.remove(&number) {
            site.pods.runs(endpoint, -1);
            drop(booking);
        }
    }

    /// All requests end: their clients or this process are gone.
    pub(crate) fn end_all(&mut self, site: &mut Site) {
        let numbers: Vec<u64> = self.requests.keys().copied().collect();
        numbers.into_iter().for_each(|number| self.ended(site, number));
        self.heed_bell(site);
    }
}
