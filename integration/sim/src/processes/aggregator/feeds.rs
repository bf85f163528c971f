//! Serves the streams on which replicas send feedback.

use signalbox_state::{
    Feedback, FeedbackReply, FeedbackReplyQueue, FeedbackRest, PoolEffect, PoolInput, RoleEffect, RoleInput,
};
use signalbox_types::Origin;

use super::Aggregator;
use crate::cluster::Cluster;
use crate::cluster::event::Event;
use crate::cluster::message::{End, Payload};
use crate::counters::Counter;

/// How many replies may be in flight to one replica.
const WINDOW: usize = 64;

/// A stream on which a replica sends feedback.
#[derive(Debug, Default)]
pub(super) struct Feed {
    /// The origin of which it sends feedback.
    origin: Option<Origin>,
    replies: FeedbackReplyQueue,
}

impl Aggregator {
    /// Handles a batch of feedback, if the process that sends it may send that of its origin.
    pub(super) fn handle_feedback(&mut self, cluster: &mut Cluster, stream: u64, feedback: Feedback) {
        let Some(client) = cluster.network.stream(stream).map(|stream| stream.client) else { return };
        let (now_ms, peer, origin) = (cluster.now_ms(self.node), client.0.to_string(), feedback.origin);
        let feed = self.feeds.entry(stream).or_default();
        let checked = self.origins.check(now_ms, &peer, &mut feed.origin, origin);
        let process = (self.node, self.run);
        cluster.checker.check_origin(process, client, origin, checked.is_ok());
        if checked.is_err() {
            cluster.counters.increment(Counter::FeedbackRefused);
            return self.stop_serving(cluster, stream);
        }
        cluster.checker.record_feedback(process, self.role.pool_state(), &feedback);
        self.apply_feedback(cluster, stream, PoolInput::Feedback(feedback));
    }

    /// Handles what is left of a batch of feedback.
    pub(crate) fn continue_feedback(&mut self, cluster: &mut Cluster, stream: u64, rest: FeedbackRest) {
        self.apply_feedback(cluster, stream, PoolInput::FeedbackRest(rest));
    }

    /// Handles a batch of feedback or what is left of it. What is still left then is handled next.
    fn apply_feedback(&mut self, cluster: &mut Cluster, stream: u64, feedback: PoolInput) {
        for effect in self.apply_to_role(cluster, RoleInput::Pool(feedback)) {
            match effect {
                RoleEffect::Pool(PoolEffect::NeedChain(_, number)) => {
                    cluster.counters.increment(Counter::ChainRequest);
                    self.reply(stream, FeedbackReply::NeedChain(number));
                }
                RoleEffect::Pool(PoolEffect::Expired(origin)) => {
                    self.reply(stream, FeedbackReply::Expired(origin));
                }
                RoleEffect::Pool(PoolEffect::FeedbackLeft(rest)) => {
                    cluster.counters.increment(Counter::FeedbackCut);
                    cluster.queue_first(
                        self.node,
                        Event::FeedbackRest { node: self.node, run: self.run, stream, rest },
                    );
                }
                effect => self.perform(cluster, effect),
            }
        }
        self.send_replies(cluster, stream);
    }

    fn reply(&mut self, stream: u64, reply: FeedbackReply) {
        // The stream may have ended since the batch arrived.
        if let Some(feed) = self.feeds.get_mut(&stream) {
            feed.replies.push(reply);
        }
    }

    fn send_replies(&mut self, cluster: &mut Cluster, stream: u64) {
        while let Some(feed) = self.feeds.get_mut(&stream)
            && cluster
                .network
                .stream(stream)
                .is_some_and(|stream| stream.in_flight[End::Client as usize] < WINDOW)
            && let Some(reply) = feed.replies.pop()
        {
            cluster.send(stream, End::Client, Payload::FeedbackReply(reply));
        }
    }

    /// Sends the replies for which there was no room before.
    pub(super) fn send_replies_to_all(&mut self, cluster: &mut Cluster) {
        let streams: Vec<u64> = self.feeds.keys().copied().collect();
        streams.into_iter().for_each(|stream| self.send_replies(cluster, stream));
    }

    /// Forgets a stream that has ended.
    pub(super) fn remove_feed(&mut self, cluster: &Cluster, stream: u64) {
        if let Some(origin) = self.feeds.remove(&stream).and_then(|feed| feed.origin) {
            self.origins.release(cluster.now_ms(self.node), origin);
        }
    }
}
