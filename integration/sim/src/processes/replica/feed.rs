//! Sends a replica's feedback to the owner.

use std::sync::atomic::Ordering;

use rand::Rng;
use signalbox_state::{FlowReport, FrameSource, GaugeScope};
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

/// The stream on which the replica sends feedback.
#[derive(Debug)]
pub(super) struct Feed {
    pub(super) stream: u64,
    pub(super) aggregator: usize,
    pub(super) is_open: bool,
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
        }
        let stream = cluster.open(StreamKind::Feed, self.node, Node::Aggregator(aggregator));
        self.feed = stream.map(|stream| Feed { stream, aggregator, is_open: false });
    }

    /// Schedules a batch of feedback if there is some and none is scheduled.
    pub(super) fn schedule_flush(&mut self, cluster: &mut Cluster) {
        if self.has_feedback.swap(false, Ordering::Relaxed)
            && !std::mem::replace(&mut self.is_flush_scheduled, true)
        {
            cluster.set_timer(self.node, FLUSH_DELAY_MS, Timer::FlushFeedback);
        }
    }

    pub(super) fn flush(&mut self, cluster: &mut Cluster, scope: GaugeScope) {
        let Some(feed) = self.feed.as_ref().filter(|feed| feed.is_open) else { return };
        if cluster.now_ms(self.node) < self.hold_feedback_until_ms {
            self.has_feedback.store(true, Ordering::Relaxed);
            return;
        }
        let in_flight =
            cluster.network.stream(feed.stream).map(|stream| stream.in_flight[End::Server as usize]);
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
        let batch =
            self.batcher.next_batch(self.follower.epoch(), self.origin, scope, gauges, FlowReport::default());
        if self.batcher.has_unsent() {
            self.has_feedback.store(true, Ordering::Relaxed);
        }
        let Some(batch) = batch else { return };
        for placement in &batch.placements {
            let placed = self.placements[placement.number as usize - 1].clone();
            cluster.checker.record_placement(self.origin, placement.number, placed);
        }
        cluster.send(feed.stream, End::Server, Payload::Feedback(batch));
    }
}
