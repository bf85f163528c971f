//! Messages without an effect. What some peers do not know is sent together with one of these, which is all that they see.

use signalbox_protos::signalbox::v1 as pb;

/// No replica has this origin: replicas draw random ones.
const NO_ORIGIN: u64 = 0;

pub(crate) fn no_op_change() -> pb::Change {
    let no_op = pb::change::Change::OriginExpired(pb::OriginExpired { origin: NO_ORIGIN });
    pb::Change { change: Some(no_op), ..pb::Change::default() }
}

pub(crate) fn no_op_entry() -> pb::SnapshotEntry {
    let no_op = pb::snapshot_entry::Entry::Runs(pb::RunsEntry { runs: Vec::new() });
    pb::SnapshotEntry { entry: Some(no_op), ..pb::SnapshotEntry::default() }
}
