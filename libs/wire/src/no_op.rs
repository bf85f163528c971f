//! Messages without an effect. What was added to the protocol later is sent with one of them, which is all that a peer
//! sees that does not know the addition.

use signalbox_protos::signalbox::v1 as pb;

/// No replica has this origin: replicas draw random ones.
const NO_ORIGIN: u64 = 0;

/// Returns a part of a snapshot that contains nothing.
pub(crate) fn entry() -> pb::SnapshotEntry {
    let no_op = pb::snapshot_entry::Entry::Runs(pb::RunsEntry { runs: Vec::new() });
    pb::SnapshotEntry { entry: Some(no_op), ..pb::SnapshotEntry::default() }
}

/// Returns a change that changes nothing.
pub(crate) fn change() -> pb::Change {
    let no_op = pb::change::Change::OriginExpired(pb::OriginExpired { origin: NO_ORIGIN });
    pb::Change { change: Some(no_op), ..pb::Change::default() }
}
