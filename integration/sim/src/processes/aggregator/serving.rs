//! Serves the streams that followers, replicas and collectors opened to an aggregator.

use signalbox_state::{
    CollectorStream, FollowerPoll, FromAggregator, FromFollower, PollReply, PollWant, PoolInput, RoleInput,
};

use super::Aggregator;
use super::lease::STALL_LIMIT_US;
use crate::cluster::Cluster;
use crate::cluster::event::Timer;
use crate::cluster::message::{End, Payload, StreamKind};
use crate::counters::Counter;
use crate::plan::Refusal;

/// How many messages may be in flight to one follower.
const WINDOW: usize = 64;

impl Aggregator {
    /// Handles a message from a client.
    pub(super) fn serve(&mut self, cluster: &mut Cluster, stream: u64, payload: Payload) {
        match payload {
            Payload::Closed if self.followers.contains_key(&stream) => {
                self.end_follower_stream(cluster, stream)
            }
            Payload::Closed => self.stop_serving(cluster, stream),
            // It may come after the end of the stream, which overtakes it.
            Payload::FromFollower(message @ FromFollower::FetchReply(_)) => {
                self.apply(cluster, RoleInput::FollowerMessage(stream, message));
            }
            Payload::FromFollower(message) => self.handle_follower_message(cluster, stream, message),
            Payload::Feedback(_) | Payload::Join(_) | Payload::Reports(..) if !self.is_owner() => {
                self.stop_serving(cluster, stream);
            }
            Payload::Feedback(feedback) => self.handle_feedback(cluster, stream, feedback),
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

    fn handle_follower_message(&mut self, cluster: &mut Cluster, stream: u64, message: FromFollower) {
        if !self.followers.contains_key(&stream) {
            if self.refuses_follower(cluster, stream) {
                return;
            }
            let client = cluster.network.stream(stream).map(|stream| stream.client.0.to_string());
            self.apply(cluster, RoleInput::FollowerJoined(stream, client.unwrap_or_default()));
        }
        let (now_ms, follower) = (cluster.now_ms(self.node), self.followers.entry(stream).or_default());
        if let FromFollower::Cursor(sent) = &message {
            follower.handle_cursor(cluster, now_ms, sent.version.unwrap_or_default());
            self.schedule_wait_end(cluster, stream);
        }
        self.apply(cluster, RoleInput::FollowerMessage(stream, message));
        self.send_frames(cluster, stream, PollWant::Changes);
    }

    /// Ends the stream of a new follower if the aggregator refuses followers, after a message or without any.
    fn refuses_follower(&self, cluster: &mut Cluster, stream: u64) -> bool {
        let Some(refusal) = self.refusal else { return false };
        cluster.counters.increment(Counter::FollowerRefused);
        if refusal == Refusal::AfterMessage {
            let message = FromAggregator::NotOwner { epoch: self.role.epoch() };
            cluster.send(stream, End::Client, Payload::FromAggregator(message));
        }
        cluster.close(stream, End::Server);
        true
    }

    /// Sets a timer for the end of a follower's wait, if it waits.
    fn schedule_wait_end(&self, cluster: &mut Cluster, stream: u64) {
        let until_ms = self.followers.get(&stream).and_then(|follower| follower.wait.until_ms());
        if let Some(until_ms) = until_ms {
            let after_ms = until_ms.saturating_sub(cluster.now_ms(self.node));
            cluster.set_timer(self.node, after_ms, Timer::WaitEnded(stream));
        }
    }

    /// Polls again for a follower whose wait has ended.
    pub(super) fn end_wait(&mut self, cluster: &mut Cluster, stream: u64) {
        let now_ms = cluster.now_ms(self.node);
        let Some(follower) = self.followers.get_mut(&stream) else { return };
        match follower.wait.until_ms() {
            // The clock is slow, or the follower waits for something else now.
            Some(until_ms) if until_ms > now_ms => self.schedule_wait_end(cluster, stream),
            Some(_) => {
                follower.wait.end();
                self.send_frames(cluster, stream, PollWant::Changes);
            }
            None => {}
        }
    }

    /// Sends heartbeats that are due, and checks that followers get them.
    pub(super) fn send_heartbeats(&mut self, cluster: &mut Cluster) {
        self.send_frames_to_all(cluster, PollWant::ChangesAndHeartbeat);
        let (is_busy, process) = (cluster.is_busy(self.node), (self.node, self.run));
        for (stream, follower) in &mut self.followers {
            if cluster.network.stream(*stream).is_none() {
                continue;
            }
            let (postponed, silent) = follower.count_heartbeat(is_busy);
            cluster.checker.check_postponed(postponed, process, *stream);
            cluster.checker.check_silent(silent, process, *stream);
        }
    }

    /// Handles the end of a follower's stream: it leaves when all is handled that it sent.
    pub(super) fn end_follower_stream(&mut self, cluster: &mut Cluster, stream: u64) {
        self.followers.remove(&stream);
        cluster.set_timer(self.node, 0, Timer::FollowerLeft(stream));
    }

    pub(super) fn remove_follower(&mut self, cluster: &mut Cluster, stream: u64) {
        // A datagram may have come after the end of the stream.
        self.followers.remove(&stream);
        cluster.close(stream, End::Server);
        self.apply(cluster, RoleInput::FollowerLeft(stream));
    }

    pub(super) fn stop_serving(&mut self, cluster: &mut Cluster, stream: u64) {
        let kind = cluster.network.stream(stream).map(|stream| stream.kind);
        cluster.close(stream, End::Server);
        self.remove_feed(cluster, stream);
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

    /// Lets a follower's poll that the history does not answer wait until the actor has time for it.
    fn answer_later(&mut self, cluster: &mut Cluster, stream: u64, want: PollWant) {
        self.followers.entry(stream).or_default().waiting = Some(want);
        if !std::mem::replace(&mut self.are_polls_waiting, true) {
            cluster.set_timer(self.node, 0, Timer::AnswerPolls);
        }
    }

    /// Answers the polls that waited for the actor.
    pub(super) fn answer_polls(&mut self, cluster: &mut Cluster) {
        self.are_polls_waiting = false;
        let waiting =
            self.followers.iter_mut().filter_map(|(id, follower)| Some((*id, follower.waiting.take()?)));
        let waiting: Vec<_> = waiting.collect();
        waiting.into_iter().for_each(|(stream, want)| self.send_frames(cluster, stream, want));
    }

    pub(super) fn send_frames_to_all(&mut self, cluster: &mut Cluster, want: PollWant) {
        self.follower_streams().into_iter().for_each(|stream| self.send_frames(cluster, stream, want));
    }

    /// Sends a follower the frames after its cursor, up to the window. A stream has one poll at a time.
    fn send_frames(&mut self, cluster: &mut Cluster, stream: u64, mut want: PollWant) {
        if self.followers.get_mut(&stream).is_some_and(|follower| follower.joins_waiting_poll(want)) {
            return;
        }
        let (now_ms, is_busy) = (cluster.now_ms(self.node), cluster.is_busy(self.node));
        let is_stalled = cluster.busy_for_us(self.node) >= STALL_LIMIT_US;
        while let Some(follower) = self.followers.get_mut(&stream)
            && let Some(in_flight) =
                cluster.network.stream(stream).map(|stream| stream.in_flight[End::Client as usize])
        {
            if in_flight >= WINDOW {
                return self.record_blocked(cluster, stream);
            }
            follower.record_room();
            if let Some(message) = follower.next_of_snapshot(now_ms) {
                follower.record_sent();
                cluster.send(stream, End::Client, Payload::FromAggregator(message));
                continue;
            }
            let cursor = follower.cursor;
            let poll_for = match follower.wait.want(want) {
                None => return,
                // An actor that is stuck gives no signs of life.
                Some(PollWant::Heartbeat) if is_stalled => return,
                Some(_) if is_stalled => PollWant::Changes,
                Some(want) => want,
            };
            let poll = FollowerPoll { follower: stream, cursor, want: poll_for };
            let read = self.role.history().and_then(|history| history.poll(now_ms, poll).ok());
            let is_read_up_to_date = poll_for == PollWant::ChangesAndHeartbeat
                && matches!(read, Some(PollReply::Current(Some(_))));
            // Only the actor can answer what the history does not tell.
            let reply = match read {
                Some(reply) => reply,
                None if is_busy => return self.answer_later(cluster, stream, want),
                None => self.role.poll(now_ms, poll),
            };
            want = PollWant::Changes;
            let follower = self.followers.entry(stream).or_default();
            follower.record_reply(now_ms, poll_for, &reply);
            match reply {
                PollReply::Current(message) => {
                    if let Some(message) = message {
                        if poll_for == PollWant::Heartbeat {
                            cluster.counters.increment(Counter::HeardWhileWaiting);
                        }
                        follower.record_sent();
                        cluster.send(stream, End::Client, Payload::FromAggregator(message));
                    }
                    if is_read_up_to_date && !is_busy {
                        self.apply(cluster, RoleInput::FollowerCaughtUp(stream));
                    }
                    return;
                }
                PollReply::Frame(frame) => {
                    cluster.counters.count_frame(&frame);
                    follower.cursor = frame.ends_at().unwrap_or(cursor);
                    follower.record_sent();
                    let message = FromAggregator::Frame(frame);
                    cluster.send(stream, End::Client, Payload::FromAggregator(message));
                }
                PollReply::Snapshot(snapshot) => {
                    cluster.counters.increment(Counter::SnapshotSent);
                    cluster.trace(|| format!("{} sends a snapshot on stream {stream}", self.node));
                    cluster.checker.check_snapshot((self.node, self.run), &snapshot);
                    if follower.begin_snapshot(snapshot) {
                        cluster.checker.check_repeated_snapshot((self.node, self.run), stream);
                    }
                }
                PollReply::Later => {
                    self.schedule_wait_end(cluster, stream);
                    return self.continue_later(cluster);
                }
            }
        }
    }

    /// Drops a follower that has taken no message for too long. It would keep its place among those that receive a
    /// snapshot.
    fn record_blocked(&mut self, cluster: &mut Cluster, stream: u64) {
        let now_ms = cluster.now_ms(self.node);
        if self.followers.get_mut(&stream).is_some_and(|follower| follower.record_blocked(now_ms)) {
            cluster.counters.increment(Counter::FollowerDropped);
            self.followers.remove(&stream);
            cluster.close(stream, End::Server);
            cluster.set_timer(self.node, 0, Timer::FollowerStreamEnded(stream));
        }
    }
}
