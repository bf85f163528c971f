//! Serves the streams that followers, replicas and collectors opened to an aggregator.

use signalbox_state::{
    CollectorStream, FollowerPoll, FromAggregator, FromFollower, PollReply, PollWant, PoolEffect, PoolInput,
    RoleEffect, RoleInput,
};

use super::Aggregator;
use super::lease::STALL_LIMIT_US;
use crate::cluster::Cluster;
use crate::cluster::event::Timer;
use crate::cluster::message::{End, Payload, StreamKind};
use crate::counters::Counter;

/// How many messages may be in flight to one follower.
const WINDOW: usize = 64;

impl Aggregator {
    /// Handles a message from a client.
    pub(super) fn serve(&mut self, cluster: &mut Cluster, stream: u64, payload: Payload) {
        match payload {
            Payload::Closed => self.stop_serving(cluster, stream),
            Payload::FromFollower(message) => {
                if !self.followers.contains_key(&stream) {
                    let client = cluster.network.stream(stream).map(|stream| stream.client.0.to_string());
                    self.apply(cluster, RoleInput::FollowerJoined(stream, client.unwrap_or_default()));
                }
                let cursor = self.followers.entry(stream).or_default();
                if let FromFollower::Cursor(sent) = &message {
                    *cursor = sent.version.unwrap_or_default();
                }
                self.apply(cluster, RoleInput::FollowerMessage(stream, message));
                self.send_frames(cluster, stream, PollWant::Changes);
            }
            Payload::Feedback(_) | Payload::Join(_) | Payload::Reports(..) if !self.is_owner() => {
                self.stop_serving(cluster, stream);
            }
            Payload::Feedback(feedback) => {
                self.feeds.insert(stream);
                let process = (self.node, self.run);
                cluster.checker.record_feedback(process, self.role.pool_state(), &feedback);
                let effects = self.apply_to_role(cluster, RoleInput::Pool(PoolInput::Feedback(feedback)));
                for effect in effects {
                    match effect {
                        RoleEffect::Pool(PoolEffect::NeedChain(_, number)) => {
                            cluster.counters.increment(Counter::ChainRequest);
                            cluster.send(stream, End::Client, Payload::NeedChain(number));
                        }
                        RoleEffect::Pool(PoolEffect::Expired(origin)) => {
                            cluster.send(stream, End::Client, Payload::OriginExpired(origin));
                        }
                        effect => self.perform(cluster, effect),
                    }
                }
            }
            Payload::Join(name) => {
                self.collectors.insert(stream);
                let joined = PoolInput::CollectorJoined(CollectorStream(stream), name);
                self.apply(cluster, RoleInput::Pool(joined));
            }
            Payload::Reports(epoch, reports) => {
                self.apply(cluster, RoleInput::EpochHeard(epoch));
                self.apply(cluster, RoleInput::Pool(PoolInput::Reports(CollectorStream(stream), reports)));
            }
            _ => {}
        }
    }

    fn stop_serving(&mut self, cluster: &mut Cluster, stream: u64) {
        let kind = cluster.network.stream(stream).map(|stream| stream.kind);
        cluster.close(stream, End::Server);
        self.feeds.remove(&stream);
        if self.followers.remove(&stream).is_some() {
            self.apply(cluster, RoleInput::FollowerLeft(stream));
        }
        if self.collectors.remove(&stream) && kind == Some(StreamKind::Collect) {
            self.apply(cluster, RoleInput::Pool(PoolInput::CollectorLeft(CollectorStream(stream))));
        }
    }

    /// Schedules new frames for all followers, once for all changes of this moment.
    pub(super) fn schedule_frames(&mut self, cluster: &mut Cluster) {
        if !std::mem::replace(&mut self.are_frames_scheduled, true) {
            cluster.set_timer(self.node, 0, Timer::SendFrames);
        }
    }

    /// Answers polls that the history does not answer when the actor has time for them.
    fn answer_polls_later(&mut self, cluster: &mut Cluster) {
        if !std::mem::replace(&mut self.are_polls_waiting, true) {
            cluster.set_timer(self.node, 0, Timer::AnswerPolls);
        }
    }

    pub(super) fn send_frames_to_all(&mut self, cluster: &mut Cluster, want: PollWant) {
        let streams: Vec<u64> = self.followers.keys().copied().collect();
        streams.into_iter().for_each(|stream| self.send_frames(cluster, stream, want));
    }

    /// Sends a follower the frames after its cursor, up to the window.
    fn send_frames(&mut self, cluster: &mut Cluster, stream: u64, mut want: PollWant) {
        let (now_ms, is_busy) = (cluster.now_ms(self.node), cluster.is_busy(self.node));
        if cluster.busy_for_us(self.node) >= STALL_LIMIT_US {
            want = PollWant::Changes;
        }
        while let Some(cursor) = self.followers.get_mut(&stream)
            && cluster
                .network
                .stream(stream)
                .is_some_and(|stream| stream.in_flight[End::Client as usize] < WINDOW)
        {
            let poll = FollowerPoll { follower: stream, cursor: *cursor, want };
            let read = self.role.history().and_then(|history| history.poll(now_ms, poll).ok());
            let is_read_up_to_date = want != PollWant::Changes && matches!(read, Some(PollReply::Current(_)));
            // Only the actor can answer what the history does not tell.
            let reply = match read {
                Some(reply) => reply,
                None if is_busy => return self.answer_polls_later(cluster),
                None => self.role.poll(now_ms, poll),
            };
            want = PollWant::Changes;
            match reply {
                PollReply::Current(message) => {
                    if let Some(message) = message {
                        cluster.send(stream, End::Client, Payload::FromAggregator(message));
                    }
                    if is_read_up_to_date && !is_busy {
                        self.apply(cluster, RoleInput::FollowerCaughtUp(stream));
                    }
                    return;
                }
                PollReply::Frame(frame) => {
                    cluster.counters.count_frame(&frame);
                    *cursor = frame.ends_at().unwrap_or(*cursor);
                    let message = FromAggregator::Frame(frame);
                    cluster.send(stream, End::Client, Payload::FromAggregator(message));
                }
                PollReply::Snapshot(snapshot) => {
                    cluster.counters.increment(Counter::SnapshotSent);
                    cluster.trace(|| format!("{} sends a snapshot on stream {stream}", self.node));
                    *cursor = snapshot.version;
                    for frame in snapshot.frames() {
                        let message = FromAggregator::Frame(frame);
                        cluster.send(stream, End::Client, Payload::FromAggregator(message));
                    }
                }
                // The next heartbeat tries again.
                PollReply::Later => return,
            }
        }
    }
}
