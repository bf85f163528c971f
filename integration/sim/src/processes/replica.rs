//! Simulates an EPP replica: it follows all aggregators, books requests, and sends feedback to the owner.

mod arriving;
mod circuits;
mod feed;
mod gate;
mod heard;
mod recorded_feedback;
mod requests;
mod revoking;
mod waiting;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rand::Rng;
use signalbox_schedule::{Booked, Policy};
use signalbox_state::{
    Arrivals, Bookings, FeedbackBatcher, FeedbackReply, Follower, FollowerEffect, FollowerEvent, Frame,
    FrameSource, FromAggregator, Gap, GaugeScope, JournalBounds, JournaledReplica, Overlay, PlacedPrompt,
    RecentAdapterSends, RecentProbes, View,
};
use signalbox_types::Origin;

use self::feed::{Feed, FeedRetry};
use self::gate::Gate;
use self::heard::Heard;
use crate::cluster::Cluster;
use crate::cluster::event::Timer;
use crate::cluster::message::{End, Payload};
use crate::counters::Counter;
use crate::plan::Node;
use crate::processes::aggregator_streams::AggregatorStreams;
use crate::step_checker::ProcessId;

/// How often all gauges are sent.
const FLUSH_ALL_MS: u64 = 500;

const TICK_MS: u64 = 100;
const CHECK_STREAMS_MS: u64 = 500;

/// How much history the replica keeps for an aggregator that takes the pool over.
const HISTORY: JournalBounds = JournalBounds { keep_bytes: 1 << 20, keep_ms: 0, max_bytes: 1 << 20 };

/// The longest trace line of an event, in characters.
const EVENT_CHARS: usize = 200;

/// An EPP replica.
pub(crate) struct Replica {
    node: Node,
    run: u32,
    pub(crate) follower: Follower,
    batcher: FeedbackBatcher,
    pub(crate) bookings: Bookings,
    pub(crate) overlay: Overlay,
    /// What requests read of the pool.
    view: View,
    heard: Heard,
    policy: Policy,
    pub(crate) origin: Origin,
    /// Set when there is feedback to send.
    has_feedback: Arc<AtomicBool>,
    is_flush_scheduled: bool,
    subscriptions: AggregatorStreams,
    feed: Option<Feed>,
    feed_retry: FeedRetry,
    acknowledged: u64,
    /// The requests in flight.
    requests: BTreeMap<u64, Booked>,
    requests_started: u64,
    /// The requests that arrived, whether they waited or not.
    arrived: u64,
    /// What it tells the owner of those.
    arrivals: Arrivals,
    pub(crate) gate: Gate,
    /// All placements; placement number `n` is at index `n - 1`.
    placements: Vec<PlacedPrompt>,
    adapter_sends: RecentAdapterSends,
    probes: RecentProbes,
    /// Takes no more requests, and exits after those that it has.
    is_giving_up: bool,
    /// Takes its state for one that differs from the owner's.
    pub(crate) is_diverging: bool,
    /// Until then no feedback is sent, in milliseconds.
    hold_feedback_until_ms: u64,
}

impl fmt::Debug for Replica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replica").field("node", &self.node).field("run", &self.run).finish_non_exhaustive()
    }
}

impl Replica {
    pub(crate) fn start(cluster: &mut Cluster, node: Node, run: u32) -> Self {
        let subscriptions = AggregatorStreams::new(node);
        subscriptions.start(cluster);
        cluster.set_timer(node, CHECK_STREAMS_MS, Timer::CheckStreams);
        cluster.set_timer(node, FLUSH_ALL_MS, Timer::FlushAllGauges);
        cluster.set_timer(node, TICK_MS, Timer::Tick);
        cluster.set_timer(node, 0, Timer::NextRequest);
        let origin = Origin(cluster.queue.rng.random());
        cluster.checker.record_origin((node, run), origin);
        let has_feedback = Arc::new(AtomicBool::new(false));
        let notify = Arc::clone(&has_feedback);
        Self {
            node,
            run,
            follower: Follower::new(JournaledReplica::new(HISTORY)),
            batcher: FeedbackBatcher::default(),
            bookings: Bookings::new(Arc::new(move || notify.store(true, Ordering::Relaxed))),
            overlay: Overlay::default(),
            view: View::default(),
            heard: Heard::default(),
            policy: Policy::default(),
            origin,
            has_feedback,
            is_flush_scheduled: false,
            subscriptions,
            feed: None,
            feed_retry: FeedRetry::default(),
            acknowledged: 0,
            requests: BTreeMap::new(),
            requests_started: 0,
            arrived: 0,
            arrivals: Arrivals::default(),
            gate: Gate::new(cluster.plan.flow_control.clone()),
            placements: Vec::new(),
            adapter_sends: RecentAdapterSends::default(),
            probes: RecentProbes::default(),
            is_giving_up: false,
            is_diverging: false,
            hold_feedback_until_ms: 0,
        }
    }

    pub(crate) fn process(&self) -> ProcessId {
        (self.node, self.run)
    }

    pub(crate) fn on_timer(&mut self, cluster: &mut Cluster, timer: Timer) {
        match timer {
            Timer::Tick => {
                self.connect_feed(cluster);
                self.finish_giving_up(cluster);
                cluster.set_timer(self.node, TICK_MS, Timer::Tick);
            }
            Timer::Connect(at) => self.subscriptions.connect(cluster, at),
            Timer::CheckStreams => {
                for stream in cluster.unresponsive_streams(self.node) {
                    cluster.close(stream, End::Client);
                    self.stream_closed(cluster, stream);
                }
                cluster.set_timer(self.node, CHECK_STREAMS_MS, Timer::CheckStreams);
            }
            Timer::FlushFeedback => {
                self.is_flush_scheduled = false;
                self.flush(cluster, GaugeScope::Changed);
            }
            Timer::FlushAllGauges => {
                let dropped = self.batcher.expire(cluster.now_ms(self.node), &self.overlay);
                cluster.check_dropped_placements(self.node, dropped);
                self.flush(cluster, GaugeScope::All);
                self.bookings.remove_unused();
                cluster.set_timer(self.node, FLUSH_ALL_MS, Timer::FlushAllGauges);
            }
            Timer::NextRequest => self.start_request(cluster),
            Timer::TendWaiting => self.tend_waiting(cluster),
            Timer::Depart(number) => self.depart(cluster, number),
            Timer::ClientLeaves(number) => self.end_client(cluster, number),
            Timer::Revoke(number) => self.revoke(cluster, number),
            Timer::FirstOutput(number) => self.record_first_output(cluster, number),
            Timer::RequestEnd(number) if cluster.accepts_requests => self.end_request(cluster, number),
            _ => {}
        }
        self.schedule_flush(cluster);
    }

    pub(crate) fn on_message(&mut self, cluster: &mut Cluster, stream: u64, payload: Payload) {
        let is_feed = self.feed.as_ref().is_some_and(|feed| feed.stream == stream);
        match payload {
            Payload::Opened if is_feed => {
                self.feed.iter_mut().for_each(|feed| feed.is_open = true);
                self.heard.feed_lost_ms = u64::MAX;
                self.batcher.resend_all();
                self.flush(cluster, GaugeScope::All);
            }
            Payload::Opened => {
                self.subscriptions.mark_open(stream);
                self.follow(cluster, stream, FollowerEvent::Connected);
            }
            Payload::FromAggregator(message) => {
                self.subscriptions.record_message(stream);
                self.follow(cluster, stream, FollowerEvent::Received(message));
            }
            Payload::FeedbackReply(FeedbackReply::NeedChain(number)) if is_feed => {
                self.batcher.queue_whole_chain(number);
                self.flush(cluster, GaugeScope::Changed);
            }
            Payload::FeedbackReply(FeedbackReply::Expired(origin)) if is_feed => {
                self.renew_origin(cluster, origin);
            }
            Payload::Closed => {
                cluster.close(stream, End::Client);
                self.stream_closed(cluster, stream);
            }
            _ => {}
        }
        self.schedule_flush(cluster);
    }

    fn stream_closed(&mut self, cluster: &mut Cluster, stream: u64) {
        let is_feed = self.feed.take_if(|feed| feed.stream == stream).is_some();
        if is_feed {
            self.record_feed_loss(cluster);
        } else if self.subscriptions.remove(cluster, stream) {
            self.follow(cluster, stream, FollowerEvent::Disconnected);
        }
    }

    /// Takes no more requests, and exits after those that the replica has.
    pub(crate) fn give_up(&mut self) {
        self.is_giving_up = true;
    }

    fn finish_giving_up(&self, cluster: &mut Cluster) {
        if self.is_giving_up && self.requests.is_empty() && self.gate.held() == 0 {
            cluster.counters.increment(Counter::ReplicaGaveUp);
            cluster.set_timer(self.node, 0, Timer::Exit);
        }
    }

    /// Applies an event of a subscription to the follower and performs the effects.
    fn follow(&mut self, cluster: &mut Cluster, stream: u64, mut event: FollowerEvent) {
        if self.is_diverging {
            diverge(&mut event);
        }
        let now_ms = cluster.now_ms(self.node);
        cluster.trace(|| {
            let text: String = format!("{event:?}").chars().take(EVENT_CHARS).collect();
            format!(
                "{} at {:?} receives on stream {stream} {text}",
                self.node,
                self.follower.replica().cursor()
            )
        });
        for effect in self.follower.handle(now_ms, FrameSource::Aggregator(stream), event) {
            match effect {
                FollowerEffect::Send(FrameSource::Aggregator(stream), message) => {
                    cluster.send(stream, End::Server, Payload::FromFollower(message))
                }
                FollowerEffect::Send(FrameSource::Follower(_), _) => {}
                FollowerEffect::Advanced => self.record_progress(now_ms),
                FollowerEffect::SnapshotInstalled => {
                    cluster.counters.increment(Counter::ReplicaSnapshot);
                    self.record_progress(now_ms);
                }
                FollowerEffect::EpochRefused(_) => cluster.counters.increment(Counter::EpochRefused),
                FollowerEffect::Gap(Gap::Digest(_)) if self.is_diverging => {
                    cluster.counters.increment(Counter::Divergence);
                }
                FollowerEffect::Gap(gap) => cluster.checker.check_gap(&mut cluster.counters, self.node, &gap),
            }
        }
        cluster.checker.check_replica((self.node, self.run), &self.follower);
        self.view = View::next(&self.view, self.follower.replica().state_replica(), &self.bookings);
        self.apply_owner_news(cluster);
        self.connect_feed(cluster);
    }

    /// Records that the owner has extended or confirmed the state.
    fn record_progress(&mut self, now_ms: u64) {
        self.heard.view_confirmed_ms = now_ms;
        let pool_state = self.follower.replica().state_replica().pool_state();
        let acknowledged = pool_state.acknowledged(self.origin);
        if acknowledged != self.acknowledged {
            self.acknowledged = acknowledged;
            self.batcher.acknowledge(acknowledged, &self.overlay);
        }
    }
}

/// Alters the digest of a heartbeat, as if the replica's state differed from the owner's.
fn diverge(event: &mut FollowerEvent) {
    if let FollowerEvent::Received(FromAggregator::Frame(Frame::Heartbeat { digest, .. })) = event {
        digest.specs ^= 1;
    }
}
