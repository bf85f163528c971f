//! One follower's stream, from its first message to its end.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use signalbox_actors::BackoffPolicy;
use signalbox_protos::signalbox::v1::{FollowerMessage, Frame};
use signalbox_state::{
    Cursor, CursorUse, FollowerPoll, FromAggregator, FromFollower, PollReply, PollWait, PollWant, Snapshot,
    SnapshotPace,
};
use signalbox_types::Version;
use signalbox_wire::Hello;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep_until, timeout};
use tonic::{Status, Streaming};

use crate::pools::{BulkMessage, PoolOwnerMessage};
use crate::serve::{StreamContext, StreamPeer};

/// Time between two heartbeats.
const HEARTBEAT_INTERVAL: Duration = Duration::from_millis(100);

/// The time between two frames with changes, unless there is more to send than fits into one: a busy owner makes many
/// small changes, which are cheaper to send, receive and apply together.
const FRAME_INTERVAL: Duration = Duration::from_millis(1);

/// Time limit for the actor to answer a poll.
const POLL_TIMEOUT: Duration = Duration::from_secs(10);

/// A follower that takes no message for this long is dropped. It would hold its snapshot, and one of the few places for
/// followers that receive one. It has given the stream up by then: it has not heard a heartbeat for too long.
const SEND_TIMEOUT: Duration = Duration::from_secs(5);

/// Delay before the next snapshot of a follower for which earlier ones were in vain.
const NEXT_SNAPSHOT: BackoffPolicy =
    BackoffPolicy { base: Duration::from_millis(500), cap: Duration::from_secs(10) };

type Ended = &'static str;

pub(super) struct Follower {
    pub(super) id: u64,
    pub(super) peer: StreamPeer,
    frames: mpsc::Sender<Result<Frame, Status>>,
    /// Introduces this aggregator in the first frame.
    hello: Option<Hello>,
    cursor: Version,
    /// The start of the clock of `snapshots` and `wait`.
    started: Instant,
    snapshots: SnapshotPace,
    wait: PollWait,
}

impl Follower {
    pub(super) fn new(
        context: &StreamContext,
        peer: StreamPeer,
        frames: mpsc::Sender<Result<Frame, Status>>,
    ) -> Self {
        let hello = Some(Hello { pool: Some(peer.pool.pool.to_string()), name: context.name.clone() });
        let (id, cursor, snapshots) = (context.next_stream(), Version::default(), SnapshotPace::default());
        let (started, wait) = (Instant::now(), PollWait::default());
        Self { id, peer, frames, hello, cursor, started, snapshots, wait }
    }

    /// Serves the follower until one side ends the stream. Returns the reason.
    pub(super) async fn run(
        mut self,
        context: &StreamContext,
        first: FollowerMessage,
        inbound: Streaming<FollowerMessage>,
    ) -> Ended {
        let reason = match self.handle_message(context, Ok(Some(first))).await {
            ControlFlow::Continue(()) => self.exchange_messages(context, inbound).await,
            ControlFlow::Break(reason) => reason,
        };
        // A pool is removed before its actor stops, so what ended is told apart from an actor that failed.
        if context.pools.contains(&self.peer.pool) {
            return reason;
        }
        let removed = format!("pool {} was removed", self.peer.pool.pool);
        self.close(Status::failed_precondition(removed)).await;
        "the pool was removed"
    }

    /// Sends frames and handles the follower's messages until the stream cannot go on. Returns why.
    async fn exchange_messages(
        &mut self,
        context: &StreamContext,
        mut inbound: Streaming<FollowerMessage>,
    ) -> Ended {
        let (mut wakeups, mut actor) = (self.peer.pool.epoch.subscribe(), self.peer.pool.actor.subscribe());
        let mut heartbeats = interval(HEARTBEAT_INTERVAL);
        heartbeats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut want = PollWant::ChangesAndHeartbeat;
        loop {
            let is_behind = match self.send_next(context, want).await {
                ControlFlow::Continue(is_behind) => is_behind,
                ControlFlow::Break(reason) => return reason,
            };
            want = PollWant::Changes;
            let next_frame_at = Instant::now() + FRAME_INTERVAL;
            let is_waiting = self.wait.until_ms().is_some();
            let wait_until = self.started + Duration::from_millis(self.wait.until_ms().unwrap_or_default());
            // Neither this nor the changes of the epoch can fail: the follower's pool holds the senders.
            let actor_stopped = async { drop(actor.wait_for(Option::is_none).await) };
            let changed = async {
                drop(wakeups.changed().await);
                sleep_until(next_frame_at.into()).await;
            };
            // The follower's messages come first, so that its end is noticed however far behind it is.
            let next = tokio::select! {
                biased;
                message = inbound.message() => self.handle_message(context, message).await,
                () = actor_stopped => ControlFlow::Break("the pool's actor has stopped"),
                _ = heartbeats.tick() => {
                    want = PollWant::ChangesAndHeartbeat;
                    ControlFlow::Continue(())
                }
                () = sleep_until(wait_until.into()), if is_waiting => {
                    self.wait.end();
                    ControlFlow::Continue(())
                }
                () = std::future::ready(()), if is_behind && !is_waiting => ControlFlow::Continue(()),
                () = changed, if !is_behind && !is_waiting => ControlFlow::Continue(()),
            };
            if let ControlFlow::Break(reason) = next {
                return reason;
            }
        }
    }

    /// Decodes a message from the follower and forwards it to the actor.
    async fn handle_message(
        &mut self,
        context: &StreamContext,
        message: Result<Option<FollowerMessage>, Status>,
    ) -> ControlFlow<Ended> {
        let Ok(Some(message)) = message else { return ControlFlow::Break("the follower closed the stream") };
        let bytes = signalbox_wire::message_bytes(&message);
        let message = match signalbox_wire::decode_follower_message(message) {
            Ok(message) => message,
            Err(error) => {
                self.close(context.reject_message(&self.peer.name, &error)).await;
                return ControlFlow::Break("a message was rejected");
            }
        };
        if let FromFollower::Cursor(Cursor { version, .. }) = &message {
            self.handle_cursor(version.unwrap_or_default());
        }
        let (follower, actor, budget) = (self.id, &self.peer.actor, &self.peer.budget);
        let is_sent = match message {
            FromFollower::FetchReply(frame) => {
                let permit = budget.admit(bytes).await;
                let reply = BulkMessage::FetchReply { follower, frame, permit };
                self.peer.pool.bulk.push(actor, reply).is_ok()
            }
            message => {
                let permit = budget.admit_to_mailbox(bytes).await;
                actor.cast(PoolOwnerMessage::FollowerMessage { follower, message, permit }).is_ok()
            }
        };
        if is_sent { ControlFlow::Continue(()) } else { ControlFlow::Break("the pool's actor has stopped") }
    }

    fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    fn handle_cursor(&mut self, cursor: Version) {
        match self.snapshots.handle_cursor(self.now_ms(), cursor) {
            CursorUse::Now => self.cursor = cursor,
            CursorUse::Later(in_vain) => {
                let delay = NEXT_SNAPSHOT.delay(in_vain, rand::random());
                tracing::warn!(
                    follower = self.peer.name, stream = self.id, pool = %self.peer.pool.pool, ?delay,
                    "a follower needs another snapshot; sending it later"
                );
                self.wait.begin(self.now_ms() + delay.as_millis() as u64);
                self.cursor = cursor;
            }
            CursorUse::Ignore => {}
        }
    }

    /// Sends what comes next, if there is anything. Returns whether there is more.
    async fn send_next(&mut self, context: &StreamContext, want: PollWant) -> ControlFlow<Ended, bool> {
        let Some(want) = self.wait.want(want) else { return ControlFlow::Continue(false) };
        let reply = self.poll(want).await?;
        self.wait.record_reply(self.now_ms(), &reply);
        match reply {
            PollReply::Current(None) => return ControlFlow::Continue(false),
            PollReply::Current(Some(message)) => {
                self.send(context, &message).await?;
                return ControlFlow::Continue(false);
            }
            PollReply::Frame(frame) => {
                self.cursor = frame.ends_at().unwrap_or(self.cursor);
                self.send(context, &FromAggregator::Frame(frame)).await?;
            }
            PollReply::Snapshot(snapshot) => self.send_snapshot(context, snapshot).await?,
            PollReply::Later => return ControlFlow::Continue(false),
        }
        ControlFlow::Continue(true)
    }

    /// Returns what comes next: from the published history, or from the actor if that does not tell.
    async fn poll(&self, want: PollWant) -> ControlFlow<Ended, PollReply> {
        let poll = FollowerPoll { follower: self.id, cursor: self.cursor, want };
        if let Some(reply) = self.read_history(poll) {
            return ControlFlow::Continue(reply);
        }
        let reply = self.peer.actor.call(|port| PoolOwnerMessage::Poll(poll, port), Some(POLL_TIMEOUT)).await;
        match reply {
            Ok(ractor::rpc::CallResult::Success(reply)) => ControlFlow::Continue(reply),
            Ok(_) | Err(_) => ControlFlow::Break("the pool's actor does not answer"),
        }
    }

    /// Reads what comes next from the published history, which takes nothing from the owner.
    fn read_history(&self, mut poll: FollowerPoll) -> Option<PollReply> {
        let pool = &self.peer.pool;
        // The followers of an owner that is stuck must notice.
        match poll.want {
            PollWant::Heartbeat if pool.stalled_for().is_some() => return Some(PollReply::Current(None)),
            PollWant::ChangesAndHeartbeat if pool.stalled_for().is_some() => poll.want = PollWant::Changes,
            _ => {}
        }
        let reply = pool.history.load().as_ref()?.poll(poll).ok()?;
        if poll.want == PollWant::ChangesAndHeartbeat && matches!(reply, PollReply::Current(Some(_))) {
            // If the actor has stopped, the stream ends.
            let _ = self.peer.actor.cast(PoolOwnerMessage::FollowerCaughtUp(self.id));
        }
        Some(reply)
    }

    async fn send_snapshot(
        &mut self,
        context: &StreamContext,
        snapshot: Arc<Snapshot>,
    ) -> ControlFlow<Ended> {
        let version = snapshot.version;
        for frame in snapshot.frames() {
            self.send(context, &FromAggregator::Frame(frame)).await?;
        }
        self.cursor = version;
        self.snapshots.record_sent(self.now_ms(), version);
        ControlFlow::Continue(())
    }

    async fn send(&mut self, context: &StreamContext, message: &FromAggregator) -> ControlFlow<Ended> {
        let message = signalbox_wire::encode_aggregator_message(self.hello.take().as_ref(), message);
        match timeout(SEND_TIMEOUT, self.frames.send(Ok(message))).await {
            Ok(Ok(())) => ControlFlow::Continue(()),
            Ok(Err(_)) => ControlFlow::Break("the follower closed the stream"),
            Err(_) => {
                context.metrics.followers_dropped.inc();
                tracing::warn!(
                    follower = self.peer.name, stream = self.id, pool = %self.peer.pool.pool,
                    limit = ?SEND_TIMEOUT, "a follower takes no messages; dropping it"
                );
                ControlFlow::Break("the follower takes no messages")
            }
        }
    }

    /// Ends the stream with `status`, if the follower takes it.
    async fn close(&self, status: Status) {
        let _ = timeout(SEND_TIMEOUT, self.frames.send(Err(status))).await;
    }
}
