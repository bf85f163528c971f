//! One replica that follows the pool, whose work is measured.

use std::sync::Arc;

use prost::Message;
use signalbox_protos::signalbox::v1 as pb;
use signalbox_state::{
    ApplyOutcome, Bookings, Frame, FrameSource, JournalBounds, JournaledReplica, Snapshot, View,
};

use super::stopwatch::Stopwatch;

/// How much history replicas keep of a large pool.
const HISTORY_BYTES: usize = 1 << 20;

/// The stream to the owner.
const SOURCE: FrameSource = FrameSource::Aggregator(0);

/// A replica, with the time that it spends.
pub(super) struct MeasuredReplica {
    replica: JournaledReplica,
    view: View,
    /// Encoding frames for the first follower, and for each further one; this is the aggregator's work.
    pub(super) encoding: Stopwatch,
    pub(super) encoding_again: Stopwatch,
    pub(super) decoding: Stopwatch,
    pub(super) applying: Stopwatch,
    pub(super) viewing: Stopwatch,
    pub(super) frames: u64,
    pub(super) bytes: u64,
}

impl MeasuredReplica {
    /// Creates a replica that holds nothing.
    pub(super) fn new() -> Self {
        let bounds = JournalBounds { keep_bytes: HISTORY_BYTES, keep_ms: 0, max_bytes: HISTORY_BYTES };
        Self {
            replica: JournaledReplica::new(bounds),
            view: View::default(),
            encoding: Stopwatch::default(),
            encoding_again: Stopwatch::default(),
            decoding: Stopwatch::default(),
            applying: Stopwatch::default(),
            viewing: Stopwatch::default(),
            frames: 0,
            bytes: 0,
        }
    }

    /// Receives a snapshot and builds the first view.
    pub(super) fn receive_snapshot(&mut self, now_ms: u64, snapshot: Arc<Snapshot>, bookings: &Bookings) {
        self.replica.record_time(now_ms);
        snapshot.frames().for_each(|frame| self.receive_frame(&frame));
        self.publish(bookings);
    }

    /// Receives `frames` that arrive together, applies them and builds the next view if the state has advanced.
    pub(super) fn receive(&mut self, now_ms: u64, frames: &[Frame], bookings: &Bookings) {
        self.replica.record_time(now_ms);
        frames.iter().for_each(|frame| self.receive_frame(frame));
        if self.replica.state_replica().version() != self.view.version {
            self.publish(bookings);
        }
    }

    fn receive_frame(&mut self, frame: &Frame) {
        let encode = || signalbox_wire::encode_frame(frame).encode_to_vec();
        let bytes = self.encoding.time(encode);
        self.encoding_again.time(encode);
        self.frames += 1;
        self.bytes += bytes.len() as u64;
        let decoded = self.decoding.time(|| {
            let message = pb::Frame::decode(&*bytes).expect("the frame was just encoded");
            signalbox_wire::decode_frame(message).expect("the frame was just encoded")
        });
        let outcome = self.applying.time(|| self.replica.apply(SOURCE, decoded));
        assert!(!matches!(outcome, ApplyOutcome::Gap(_)), "frames in order leave no gap: {outcome:?}");
    }

    /// Replaces the view.
    fn publish(&mut self, bookings: &Bookings) {
        let (before, replica) = (&self.view, self.replica.state_replica());
        let next = self.viewing.time(|| View::next(before, replica, bookings));
        self.viewing.time(|| self.view = next);
    }

    /// Forgets what was measured so far.
    pub(super) fn reset(&mut self) {
        let of_owner = [&mut self.encoding, &mut self.encoding_again];
        let own = [&mut self.decoding, &mut self.applying, &mut self.viewing];
        of_owner.into_iter().chain(own).for_each(|stopwatch| *stopwatch = Stopwatch::default());
        (self.frames, self.bytes) = (0, 0);
    }
}
