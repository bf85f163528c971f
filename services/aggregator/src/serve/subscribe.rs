//! A follower's stream: its cursor in, frames out. The cursor is all that is kept of it; a slow one falls off the journal and
//! gets a snapshot.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use signalbox_protos::signalbox::v1::{Cursor, Frame};
use signalbox_state::Snapshot;
use signalbox_types::Version;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};
use tonic::{Status, Streaming};

use super::{Desk, Outgoing};
use crate::actors::{Answer, Ask, Message, OwnerRef, Want};

/// Frames that may wait for a follower to read them.
const FRAMES_WAITING: usize = 8;

/// How often a follower gets a sign of life.
const BEAT: Duration = Duration::from_millis(100);

/// How long a follower waits when there are too many snapshots on their way.
const LATER: Duration = Duration::from_millis(50);

/// How long the owner may take to answer.
const ANSWER_DEADLINE: Duration = Duration::from_secs(10);

pub(super) async fn serve(desk: Desk, inbound: Streaming<Cursor>) -> Result<Outgoing<Frame>, Status> {
    let owner = desk.owner()?;
    let (frames, receiver) = mpsc::channel(FRAMES_WAITING);
    let follower = Follower { id: desk.next_stream(), owner, frames, cursor: Version::default() };
    tokio::spawn(async move {
        desk.metrics.subscribers.inc();
        tracing::info!(follower = follower.id, "follower connected");
        let (id, owner) = (follower.id, follower.owner.clone());
        let why = follower.run(&desk, inbound).await;
        desk.metrics.subscribers.dec();
        tracing::info!(follower = id, why, "follower disconnected");
        let _ = owner.cast(Message::Unsubscribed(id));
    });
    Ok(Outgoing::new(receiver))
}

struct Follower {
    id: u64,
    owner: OwnerRef,
    frames: mpsc::Sender<Result<Frame, Status>>,
    cursor: Version,
}

impl Follower {
    /// Serves the follower until one side is gone; says which.
    async fn run(mut self, desk: &Desk, mut inbound: Streaming<Cursor>) -> &'static str {
        let mut head = desk.head.subscribe();
        let mut beats = interval(BEAT);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        match inbound.message().await {
            Ok(Some(cursor)) => self.cursor = signalbox_wire::version(cursor),
            Ok(None) | Err(_) => return "it said nothing",
        }
        let mut want = Want::ChangesAndBeat;
        loop {
            if let ControlFlow::Break(why) = self.catch_up(want).await {
                return why;
            }
            want = Want::Changes;
            tokio::select! {
                changed = head.changed() => if changed.is_err() { return "the owner is gone" },
                _ = beats.tick() => want = Want::ChangesAndBeat,
                cursor = inbound.message() => match cursor {
                    Ok(Some(cursor)) => self.cursor = signalbox_wire::version(cursor),
                    Ok(None) | Err(_) => return "it is gone",
                },
            }
        }
    }

    /// Sends what the follower lacks, until it has all there is.
    async fn catch_up(&mut self, want: Want) -> ControlFlow<&'static str> {
        loop {
            match self.ask(want).await? {
                Answer::Current(None) => return ControlFlow::Continue(()),
                Answer::Current(Some(beat)) => return self.send(&beat).await,
                Answer::Frame(frame) => self.send(&frame).await?,
                Answer::Snapshot(snapshot) => self.send_snapshot(snapshot).await?,
                Answer::Later => tokio::time::sleep(LATER).await,
            }
        }
    }

    async fn ask(&self, want: Want) -> ControlFlow<&'static str, Answer> {
        let ask = Ask { subscriber: self.id, cursor: self.cursor, want };
        let answer = self.owner.call(|port| Message::Asked(ask, port), Some(ANSWER_DEADLINE)).await;
        match answer {
            Ok(ractor::rpc::CallResult::Success(answer)) => ControlFlow::Continue(answer),
            Ok(_) | Err(_) => ControlFlow::Break("the owner does not answer"),
        }
    }

    async fn send_snapshot(&mut self, snapshot: Arc<Snapshot>) -> ControlFlow<&'static str> {
        let version = snapshot.version;
        for frame in snapshot.frames() {
            self.send(&frame).await?;
        }
        self.cursor = version;
        ControlFlow::Continue(())
    }

    async fn send(&mut self, frame: &signalbox_state::Frame) -> ControlFlow<&'static str> {
        if self.frames.send(Ok(signalbox_wire::frame_message(frame))).await.is_err() {
            return ControlFlow::Break("it is gone");
        }
        match frame {
            signalbox_state::Frame::Delta { epoch, to, .. } => {
                self.cursor = Version { epoch: *epoch, seq: *to }
            }
            signalbox_state::Frame::Turn { from, epoch } => {
                self.cursor = Version { epoch: *epoch, seq: from.seq }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}
