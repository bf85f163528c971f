//! How long processes take for what they do.
//!
//! The actor of a process does one thing after the other. What reaches it meanwhile waits. Its lease is renewed,
//! followers read its history, and pings are answered, by other tasks.

use signalbox_state::{Frame, FromAggregator, FromFollower};

use crate::cluster::Cluster;
use crate::cluster::event::{Event, Timer};
use crate::cluster::message::{End, Payload};
use crate::plan::Node;

/// What the actor of a process is busy with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Busy {
    /// Since when it has been busy with one event, in microseconds.
    since_us: u64,
    /// When it will have finished, in microseconds.
    pub(crate) until_us: u64,
    /// The parts of the event that it handles at the moment, and of what it has sent meanwhile.
    parts: u64,
}

impl Cluster {
    /// Returns whether the actor of a process is busy.
    pub(crate) fn is_busy(&self, node: Node) -> bool {
        self.runs.get(&node).is_some_and(|run| run.busy.until_us > self.queue.now_us())
    }

    /// Returns for how long the actor of a process has been busy with one event, in microseconds.
    pub(crate) fn busy_for_us(&self, node: Node) -> u64 {
        let busy = self.runs.get(&node).map(|run| run.busy).filter(|_| self.is_busy(node));
        busy.map_or(0, |busy| self.queue.now_us() - busy.since_us)
    }

    /// Returns for how long the oldest message with content has waited for a process, in milliseconds.
    pub(crate) fn waiting_ms(&self, node: Node) -> u64 {
        let now_us = self.queue.now_us();
        self.actor_queues.get(&node).map_or(0, |queue| queue.waiting_us(now_us) / 1_000)
    }

    /// Lets the actor of a process handle an event next, before other messages with content.
    pub(crate) fn queue_first(&mut self, node: Node, event: Event) {
        self.actor_queues.entry(node).or_default().push_first(self.queue.now_us(), event);
    }

    /// Begins to handle an event with this many parts.
    pub(crate) fn begin_event(&mut self, node: Node, parts: u64) {
        self.runs.entry(node).and_modify(|run| run.busy.parts = parts);
    }

    /// Records that a process sends a message. Returns how long it takes until the message leaves, in microseconds: the
    /// process first prepares it and what it sends before.
    pub(super) fn prepare(&mut self, stream: u64, to: End, payload: &Payload) -> u64 {
        let Some(stream) = self.network.stream(stream) else { return 0 };
        let (sender, parts) = (stream.process_at(to.other()).0, parts(payload));
        self.runs.entry(sender).and_modify(|run| run.busy.parts += parts);
        self.elapsed_us(sender)
    }

    /// Makes a process busy with the event that it has handled just now.
    pub(crate) fn finish_event(&mut self, node: Node) {
        let (now_us, us) = (self.queue.now_us(), self.elapsed_us(node));
        self.runs.entry(node).and_modify(|run| {
            run.busy = Busy { since_us: now_us, until_us: run.busy.until_us.max(now_us + us), parts: 0 };
        });
    }

    /// Returns how long a process takes for the event that it handles at the moment, in microseconds.
    fn elapsed_us(&self, node: Node) -> u64 {
        let work = self.plan.work;
        let factor = if work.slow.includes(node) { work.slow_factor } else { 1 };
        self.runs.get(&node).map_or(0, |run| factor * (work.event_us + work.part_us * run.busy.parts))
    }

    /// Makes the actor of a process stuck for a while.
    pub(crate) fn stall(&mut self, node: Node, for_ms: u64) {
        let now_us = self.queue.now_us();
        self.runs.entry(node).and_modify(|run| {
            run.busy = Busy { since_us: now_us, until_us: now_us + for_ms * 1_000, ..run.busy };
        });
    }
}

impl Event {
    /// Returns how many parts the actor that handles this event must look at, besides the event itself.
    pub(crate) fn parts(&self) -> u64 {
        match self {
            Self::Message { payload, .. } => parts(payload),
            _ => 0,
        }
    }

    /// Returns whether an actor handles this event. Other events of a process are handled by other tasks.
    pub(crate) fn is_for_actor(&self) -> bool {
        match self {
            Self::Timer { timer, .. } => !matches!(
                timer,
                Timer::RenewLease
                    | Timer::CheckStreams
                    | Timer::Exit
                    | Timer::Heartbeat
                    | Timer::SendFrames
                    | Timer::WaitEnded(_)
            ),
            Self::CoordinatorReply { reply, .. } => !reply.is_about_lease(),
            Self::Message { .. } | Self::FeedbackRest { .. } | Self::EndpointsChanged { .. } => true,
            _ => false,
        }
    }
}

/// Returns the number of changes, entries, gauges, blocks or endpoints in a message.
fn parts(payload: &Payload) -> u64 {
    let parts = match payload {
        Payload::FromAggregator(FromAggregator::Frame(frame))
        | Payload::FromFollower(FromFollower::FetchReply(frame)) => {
            return frame_parts(frame);
        }
        Payload::Feedback(feedback) => {
            let blocks: usize = feedback.placements.iter().map(|placement| placement.suffix.len()).sum();
            feedback.gauges.len() + blocks
        }
        Payload::Reports(_, reports) => reports.len(),
        Payload::Assignments(_, assigned) => assigned.len(),
        Payload::FromAggregator(_)
        | Payload::FromFollower(_)
        | Payload::Opened
        | Payload::Closed
        | Payload::FeedbackReply(_)
        | Payload::Join(_) => 0,
    };
    parts as u64
}

fn frame_parts(frame: &Frame) -> u64 {
    match frame {
        Frame::Delta { from, to, .. } => to - from,
        Frame::SnapshotEntry(_) => 1,
        Frame::SnapshotBegin { .. }
        | Frame::SnapshotEnd { .. }
        | Frame::EpochChange { .. }
        | Frame::Heartbeat { .. } => 0,
    }
}
