//! Sends a replica's feedback to the owner.

use std::sync::atomic::Ordering;
use std::time::Duration;

use rand::Rng;
use signalbox_actors::StreamBackoff;
use signalbox_state::{Feedback, FrameSource, GaugeScope};
use signalbox_types::Origin;

use super::Replica;
use crate::cluster::Cluster;
use crate::cluster::event::Timer;
use crate::cluster::message::{End, Payload, StreamKind};
use crate::counters::Counter;
use crate::plan::Node;

/// The shortest time between two batches of feedback.
const FLUSH_DELAY_MS: u64 = 2;

/// How many batches of feedback may be in flight.
const WINDOW: usize = 64;

/// How many batches a flood is.
const FLOOD: usize = 200;

/// The stream on which the replica sends feedback.
#[derive(Debug)]
pub(super) struct Feed {
    pub(super) stream: u64,
    pub(super) aggregator: usize,
    pub(super) is_open: bool,
}

/// When the stream is opened again.
#[derive(Debug, Default)]
pub(super) struct FeedRetry {
    backoff: StreamBackoff,
    /// When the last attempt to open it began, in milliseconds.
    started_ms: u64,
    /// When it may be opened again, in milliseconds.
    at_ms: u64,
}

impl FeedRetry {
    /// Records that the stream has ended, or could not be opened.
    pub(super) fn record_end(&mut self, cluster: &mut Cluster, node: Node) {
        let (now_ms, jitter) = (cluster.now_ms(node), cluster.queue.rng.random());
        let served_for = Duration::from_millis(now_ms.saturating_sub(self.started_ms));
        self.at_ms = now_ms + self.backoff.delay(served_for, jitter).as_millis() as u64;
    }
}

impl Replica {
    /// Takes a new origin after the owner expired the current one.
    pub(super) fn renew_origin(&mut self, cluster: &mut Cluster, expired: Origin) {
        // The owner sends this once for each batch that was in flight.
        if expired != self.origin {
            return;
        }
        cluster.counters.increment(Counter::OriginRenewal);
        cluster.checker.check_origin_renewal(expired);
        self.origin = Origin(cluster.queue.rng.random());
        cluster.checker.record_origin((self.node, self.run), self.origin);
        self.acknowledged = 0;
        self.batcher.resend_all();
        self.flush(cluster, GaugeScope::All);
    }

    /// Returns the stream on which the replica sends feedback, and the aggregator at its other end.
    pub(crate) fn open_feed(&self) -> Option<(u64, usize)> {
        self.feed.as_ref().filter(|feed| feed.is_open).map(|feed| (feed.stream, feed.aggregator))
    }

    /// Opens the feedback stream to the owner, and closes the one to an earlier owner.
    pub(super) fn connect_feed(&mut self, cluster: &mut Cluster) {
        let owner = self.follower.owner(cluster.now_ms(self.node));
        let Some((FrameSource::Aggregator(stream), _)) = owner else { return };
        let Some(aggregator) = self.subscriptions.aggregator_of(stream) else { return };
        if self.feed.as_ref().is_some_and(|feed| feed.aggregator == aggregator) {
            return;
        }
        if let Some(feed) = self.feed.take() {
            cluster.close(feed.stream, End::Client);
            // Another owner has refused nothing yet.
            self.feed_retry = FeedRetry::default();
            self.record_feed_loss(cluster);
        }
        let now_ms = cluster.now_ms(self.node);
        if now_ms < self.feed_retry.at_ms {
            return;
        }
        self.feed_retry.started_ms = now_ms;
        let stream = cluster.open(StreamKind::Feed, self.node, Node::Aggregator(aggregator));
        self.feed = stream.map(|stream| Feed { stream, aggregator, is_open: false });
        if self.feed.is_none() {
            self.record_feed_loss(cluster);
        }
    }

    /// Records that no owner accepts feedback.
    pub(super) fn record_feed_loss(&mut self, cluster: &mut Cluster) {
        self.feed_retry.record_end(cluster, self.node);
        self.heard.feed_lost_ms = self.heard.feed_lost_ms.min(cluster.now_ms(self.node));
    }

    /// Schedules a batch of feedback if there is some and none is scheduled.
    pub(super) fn schedule_flush(&mut self, cluster: &mut Cluster) {
        if self.has_feedback.swap(false, Ordering::Relaxed)
            && !std::mem::replace(&mut self.is_flush_scheduled, true)
        {
            cluster.set_timer(self.node, FLUSH_DELAY_MS, Timer::FlushFeedback);
        }
    }

    /// Sends batches without regard to how many are in flight.
    pub(crate) fn flood(&mut self, cluster: &mut Cluster) {
        let Some((stream, _)) = self.open_feed() else { return };
        for _ in 0..FLOOD {
            let mut gauges = self.bookings.loads();
            gauges.sort_unstable_by_key(|(endpoint, _)| *endpoint);
            let (epoch, scope) = (self.follower.epoch(), GaugeScope::All);
            let flows = self.flow_report(cluster, scope);
            let arrivals = self.arrivals.counts();
            let batch = self.batcher.next_batch(epoch, self.origin, scope, gauges, flows, arrivals);
            let Some(batch) = batch else { return };
            cluster.counters.increment(Counter::FeedbackFlooded);
            self.send_batch(cluster, stream, batch);
        }
    }

    fn send_batch(&self, cluster: &mut Cluster, stream: u64, batch: Feedback) {
        for placement in &batch.placements {
            let placed = self.placements[placement.number as usize - 1].clone();
            cluster.checker.record_placement(self.origin, placement.number, placed);
        }
        cluster.send(stream, End::Server, Payload::Feedback(batch));
    }

    pub(super) fn flush(&mut self, cluster: &mut Cluster, scope: GaugeScope) {
        let Some((stream, _)) = self.open_feed() else { return };
        if cluster.now_ms(self.node) < self.hold_feedback_until_ms {
            self.has_feedback.store(true, Ordering::Relaxed);
            return;
        }
        let in_flight = cluster.network.stream(stream).map(|stream| stream.in_flight[End::Server as usize]);
        if in_flight.is_none_or(|batches| batches >= WINDOW) {
            self.has_feedback.store(true, Ordering::Relaxed);
            return;
        }
        let changed = self.bookings.take_changed();
        let mut gauges = match scope {
            GaugeScope::All => self.bookings.loads(),
            GaugeScope::Changed => changed,
        };
        gauges.sort_unstable_by_key(|(endpoint, _)| *endpoint);
        let flows = self.flow_report(cluster, scope);
        let (epoch, arrivals) = (self.follower.epoch(), self.arrivals.counts());
        let batch = self.batcher.next_batch(epoch, self.origin, scope, gauges, flows, arrivals);
        if self.batcher.has_unsent() {
            self.has_feedback.store(true, Ordering::Relaxed);
        }
        if let Some(batch) = batch {
            self.send_batch(cluster, stream, batch);
        }
    }
}
