//! A follower's stream: where it stands in, frames out. Its cursor is all that is kept of it; a slow one falls off the journal and
//! gets a snapshot. One who does not own the pool says so instead.

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

use super::{Counterpart, Outgoing, StreamContext};
use crate::actors::Message;

/// Frames that may wait for a follower to read them.
const FRAMES_WAITING: usize = 8;

/// How often a follower gets a sign of life.
const BEAT: Duration = Duration::from_millis(100);

/// How long a follower waits when there are too many snapshots on their way.
const LATER: Duration = Duration::from_millis(50);

/// How long the steward may take to answer.
const ANSWER_DEADLINE: Duration = Duration::from_secs(10);

pub(super) fn serve(context: StreamContext, mut inbound: Streaming<FollowerMessage>) -> Outgoing<Frame> {
    let (frames, receiver) = mpsc::channel(FRAMES_WAITING);
    tokio::spawn(async move {
        let follower = match begin(&context, &mut inbound, frames.clone()).await {
            Ok(Some(follower)) => follower,
            Ok(None) => return,
            Err(status) => {
                // Nobody reads it when the follower is gone.
                let _ = frames.send(Err(status)).await;
                return;
            }
        };
        let (id, owner, name) = (follower.id, follower.met.owner.clone(), follower.met.name.clone());
        context.metrics.subscribers.inc();
        tracing::info!(follower = name, stream = id, "follower connected");
        let why = follower.run(&context, inbound).await;
        context.metrics.subscribers.dec();
        tracing::info!(follower = name, stream = id, why, "follower disconnected");
        let _ = owner.cast(Message::Unfollowed(id));
    });
    Outgoing::new(receiver)
}

/// Meets the follower, and passes on what it says first.
async fn begin(
    context: &StreamContext,
    inbound: &mut Streaming<FollowerMessage>,
    frames: mpsc::Sender<Result<Frame, Status>>,
) -> Result<Option<Follower>, Status> {
    let Some(mut first) = inbound.message().await? else { return Ok(None) };
    let met = context.meet(first.hello.take())?;
    let hello = Some(Hello { pool: Some(met.board.pool.to_string()), name: context.name.clone() });
    let id = context.next_stream();
    // A steward that is gone is noticed with the first word.
    let _ = met.owner.cast(Message::Followed { follower: id, name: met.name.clone() });
    let mut follower = Follower { id, met, frames, hello, cursor: Version::default() };
    match follower.heard(context, Ok(Some(first))).await {
        ControlFlow::Continue(()) => Ok(Some(follower)),
        ControlFlow::Break(_) => Ok(None),
    }
}

struct Follower {
    id: u64,
    met: Counterpart,
    frames: mpsc::Sender<Result<Frame, Status>>,
    /// Said with the first frame.
    hello: Option<Hello>,
    cursor: Version,
}

impl Follower {
    /// Serves the follower until one side is gone; says which.
    async fn run(mut self, context: &StreamContext, mut inbound: Streaming<FollowerMessage>) -> &'static str {
        let mut news = self.met.board.news.subscribe();
        let mut beats = interval(BEAT);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut want = PollWant::ChangesAndBeat;
        loop {
            if let ControlFlow::Break(why) = self.catch_up(want).await {
                return why;
            }
            want = PollWant::Changes;
            let heard = tokio::select! {
                changed = news.changed() => match changed {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(_) => ControlFlow::Break("the pool is gone"),
                },
                _ = beats.tick() => {
                    want = PollWant::ChangesAndBeat;
                    ControlFlow::Continue(())
                }
                message = inbound.message() => self.heard(context, message).await,
            };
            if let ControlFlow::Break(why) = heard {
                return why;
            }
        }
    }

    /// Takes what the follower says, and passes it on.
    async fn heard(
        &mut self,
        context: &StreamContext,
        message: Result<Option<FollowerMessage>, Status>,
    ) -> ControlFlow<&'static str> {
        let Ok(Some(message)) = message else { return ControlFlow::Break("it is gone") };
        let told = match signalbox_wire::from_follower(message) {
            Ok(told) => told,
            Err(error) => {
                let _ = self.frames.send(Err(context.refuse(&self.met.name, &error))).await;
                return ControlFlow::Break("it is not understood, or does not understand");
            }
        };
        if let FromFollower::Cursor(Cursor { version, .. }) = &told {
            self.cursor = version.unwrap_or_default();
        }
        let Ok(permit) = context.permits.clone().acquire_owned().await else {
            return ControlFlow::Break("this aggregator ends");
        };
        match self.met.owner.cast(Message::Told { follower: self.id, told, permit }) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break("the owner is gone"),
        }
    }

    /// Sends what the follower lacks, until it has all there is.
    async fn catch_up(&mut self, want: PollWant) -> ControlFlow<&'static str> {
        loop {
            match self.ask(want).await? {
                PollReply::Current(None) => return ControlFlow::Continue(()),
                PollReply::Current(Some(said)) => return self.send(&said).await,
                PollReply::Frame(frame) => {
                    self.cursor = frame.ends_at().unwrap_or(self.cursor);
                    self.send(&FromAggregator::Frame(frame)).await?;
                }
                PollReply::Snapshot(snapshot) => self.send_snapshot(snapshot).await?,
                PollReply::Later => tokio::time::sleep(LATER).await,
            }
        }
    }

    async fn ask(&self, want: PollWant) -> ControlFlow<&'static str, PollReply> {
        let ask = FollowerPoll { follower: self.id, cursor: self.cursor, want };
        let answer = self.met.owner.call(|port| Message::Asked(ask, port), Some(ANSWER_DEADLINE)).await;
        match answer {
            Ok(ractor::rpc::CallResult::Success(answer)) => ControlFlow::Continue(answer),
            Ok(_) | Err(_) => ControlFlow::Break("the owner does not answer"),
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

    async fn send(&mut self, said: &FromAggregator) -> ControlFlow<&'static str> {
        let message = signalbox_wire::from_aggregator_message(self.hello.take().as_ref(), said);
        match self.frames.send(Ok(message)).await {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break("it is gone"),
        }
    }
}
