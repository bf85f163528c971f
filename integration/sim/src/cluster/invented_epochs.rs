//! Sends messages with epochs that nobody has claimed.

use signalbox_state::{Cursor, Feedback, Frame, FromAggregator, FromFollower, GaugeScope, HeardOwner};
use signalbox_types::{Format, Origin, Version, max_believable_epoch};

use super::Cluster;
use super::message::{End, Payload, StreamKind};
use crate::plan::Node;

impl Cluster {
    /// Lets `node` name `epoch` on each of its streams.
    pub(crate) fn invent_epoch(&mut self, node: Node, epoch: u64) {
        let might_be_genuine = epoch <= max_believable_epoch(self.coordinator.epoch());
        if might_be_genuine {
            self.checker.record_genuine_epoch(epoch);
        }
        for (stream, end) in self.network.streams_of(node) {
            let Some(kind) = self.network.stream(stream).map(|stream| stream.kind) else { continue };
            for payload in invented_payloads(kind, end, epoch, might_be_genuine) {
                self.send(stream, end.other(), payload);
            }
        }
    }
}

/// Returns the messages of one end of a stream. An epoch that might be genuine comes only with messages that do not
/// say that their sender owns the pool, because their sender would be believed.
fn invented_payloads(kind: StreamKind, end: End, epoch: u64, might_be_genuine: bool) -> Vec<Payload> {
    let version = Version { epoch, seq: u64::MAX };
    match (kind, end) {
        (StreamKind::Subscribe, End::Client) => {
            let cursor = Cursor {
                version: Some(version),
                epoch,
                heard: HeardOwner::Epoch(epoch),
                ..Cursor::default()
            };
            vec![Payload::FromFollower(FromFollower::Cursor(cursor))]
        }
        (StreamKind::Subscribe, End::Server) => {
            let not_owner = FromAggregator::NotOwner { epoch };
            let begin = Frame::SnapshotBegin { version, format: Format::default() };
            let change = Frame::EpochChange { from: version, epoch };
            let frames = [begin, change].map(FromAggregator::Frame);
            let frames = frames.into_iter().filter(|_| !might_be_genuine);
            frames.chain([not_owner]).map(Payload::FromAggregator).collect()
        }
        (StreamKind::Feed, End::Client) => vec![Payload::Feedback(Feedback {
            epoch,
            ..Feedback::new(Origin(epoch), u64::MAX, GaugeScope::Changed)
        })],
        (StreamKind::Collect, End::Client) => vec![Payload::Reports(epoch, Vec::new())],
        (StreamKind::Collect, End::Server) if !might_be_genuine => {
            vec![Payload::Assignments(epoch, Vec::new())]
        }
        (StreamKind::Feed | StreamKind::Collect, End::Server) => Vec::new(),
    }
}
