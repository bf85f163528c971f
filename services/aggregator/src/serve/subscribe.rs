//! A follower's stream: receives its cursor and its history for a takeover, sends frames.
//!
//! The stream keeps nothing but the follower's cursor. A slow follower falls behind the journal and receives
//! a snapshot. An aggregator that does not own the pool sends `NotOwner` instead of frames.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use signalbox_protos::signalbox::v1::{FollowerMessage, Frame};
use signalbox_state::{Cursor, FollowerPoll, FromAggregator, FromFollower, PollReply, PollWant, Snapshot};
use signalbox_types::Version;
use signalbox_wire::Hello;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};
use tonic::{Status, Streaming};

use super::{Outgoing, StreamContext, StreamPeer};
use crate::pools::PoolOwnerMessage;

/// Frames that can queue until the follower reads them.
const MAX_QUEUED_FRAMES: usize = 8;

/// Time between two heartbeats.
const HEARTBEAT_INTERVAL: Duration = Duration::from_millis(100);

/// Delay before the next poll while too many snapshots are being sent.
const POLL_DELAY: Duration = Duration::from_millis(50);

/// Time limit for the actor to answer a poll.
const POLL_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) fn serve(context: StreamContext, mut inbound: Streaming<FollowerMessage>) -> Outgoing<Frame> {
    let (frames, receiver) = mpsc::channel(MAX_QUEUED_FRAMES);
    tokio::spawn(async move {
        let follower = match accept(&context, &mut inbound, frames.clone()).await {
            Ok(Some(follower)) => follower,
            Ok(None) => return,
            Err(status) => {
                // This fails if the follower is gone.
                let _ = frames.send(Err(status)).await;
                return;
            }
        };
        let (id, actor, name) = (follower.id, follower.peer.actor.clone(), follower.peer.name.clone());
        context.metrics.connected_followers.inc();
        tracing::info!(follower = name, stream = id, "follower connected");
        let reason = follower.run(&context, inbound).await;
        context.metrics.connected_followers.dec();
        tracing::info!(follower = name, stream = id, reason, "follower disconnected");
        let _ = actor.cast(PoolOwnerMessage::FollowerLeft(id));
    });
    Outgoing::new(receiver)
}

/// Accepts the follower and forwards its first message.
async fn accept(
    context: &StreamContext,
    inbound: &mut Streaming<FollowerMessage>,
    frames: mpsc::Sender<Result<Frame, Status>>,
) -> Result<Option<Follower>, Status> {
    let Some(mut first) = inbound.message().await? else { return Ok(None) };
    let peer = context.accept(first.hello.take())?;
    let hello = Some(Hello { pool: Some(peer.pool.pool.to_string()), name: context.name.clone() });
    let id = context.next_stream();
    // If the actor has stopped, forwarding the first message fails as well.
    let _ = peer.actor.cast(PoolOwnerMessage::FollowerJoined { follower: id, name: peer.name.clone() });
    let mut follower = Follower { id, peer, frames, hello, cursor: Version::default() };
    match follower.handle_message(context, Ok(Some(first))).await {
        ControlFlow::Continue(()) => Ok(Some(follower)),
        ControlFlow::Break(_) => Ok(None),
    }
}

struct Follower {
    id: u64,
    peer: StreamPeer,
    frames: mpsc::Sender<Result<Frame, Status>>,
    /// Introduces this aggregator in the first frame.
    hello: Option<Hello>,
    cursor: Version,
}

impl Follower {
    /// Serves the follower until one side ends the stream. Returns the reason.
    async fn run(mut self, context: &StreamContext, mut inbound: Streaming<FollowerMessage>) -> &'static str {
        let mut wakeups = self.peer.pool.epoch.subscribe();
        let mut heartbeats = interval(HEARTBEAT_INTERVAL);
        heartbeats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut want = PollWant::ChangesAndHeartbeat;
        loop {
            if let ControlFlow::Break(reason) = self.catch_up(want).await {
                return reason;
            }
            want = PollWant::Changes;
            let next = tokio::select! {
                woken = wakeups.changed() => match woken {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(_) => ControlFlow::Break("the pool was removed"),
                },
                _ = heartbeats.tick() => {
                    want = PollWant::ChangesAndHeartbeat;
                    ControlFlow::Continue(())
                }
                message = inbound.message() => self.handle_message(context, message).await,
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
    ) -> ControlFlow<&'static str> {
        let Ok(Some(message)) = message else { return ControlFlow::Break("the follower closed the stream") };
        let message = match signalbox_wire::decode_follower_message(message) {
            Ok(message) => message,
            Err(error) => {
                let _ = self.frames.send(Err(context.reject_message(&self.peer.name, &error))).await;
                return ControlFlow::Break("a message was rejected");
            }
        };
        if let FromFollower::Cursor(Cursor { version, .. }) = &message {
            self.cursor = version.unwrap_or_default();
        }
        let Ok(permit) = context.permits.clone().acquire_owned().await else {
            return ControlFlow::Break("this aggregator is stopping");
        };
        let message = PoolOwnerMessage::FollowerMessage { follower: self.id, message, permit };
        match self.peer.actor.cast(message) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break("the pool's actor has stopped"),
        }
    }

    /// Sends frames until the follower is up to date.
    async fn catch_up(&mut self, want: PollWant) -> ControlFlow<&'static str> {
        loop {
            match self.poll(want).await? {
                PollReply::Current(None) => return ControlFlow::Continue(()),
                PollReply::Current(Some(message)) => return self.send(&message).await,
                PollReply::Frame(frame) => {
                    self.cursor = frame.ends_at().unwrap_or(self.cursor);
                    self.send(&FromAggregator::Frame(frame)).await?;
                }
                PollReply::Snapshot(snapshot) => self.send_snapshot(snapshot).await?,
                PollReply::Later => tokio::time::sleep(POLL_DELAY).await,
            }
        }
    }

    async fn poll(&self, want: PollWant) -> ControlFlow<&'static str, PollReply> {
        let poll = FollowerPoll { follower: self.id, cursor: self.cursor, want };
        let reply = self.peer.actor.call(|port| PoolOwnerMessage::Poll(poll, port), Some(POLL_TIMEOUT)).await;
        match reply {
            Ok(ractor::rpc::CallResult::Success(reply)) => ControlFlow::Continue(reply),
            Ok(_) | Err(_) => ControlFlow::Break("the pool's actor does not answer"),
        }
    }

    async fn send_snapshot(&mut self, snapshot: Arc<Snapshot>) -> ControlFlow<&'static str> {
        let version = snapshot.version;
        for frame in snapshot.frames() {
            self.send(&FromAggregator::Frame(frame)).await?;
        }
        self.cursor = version;
        ControlFlow::Continue(())
    }

    async fn send(&mut self, message: &FromAggregator) -> ControlFlow<&'static str> {
        let message = signalbox_wire::encode_aggregator_message(self.hello.take().as_ref(), message);
        match self.frames.send(Ok(message)).await {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break("the follower closed the stream"),
        }
    }
}
