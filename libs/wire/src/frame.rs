//! Between the pool's owner and its followers: frames.

use std::sync::Arc;

use signalbox_protos::signalbox::v1 as pb;
use signalbox_state::{Change, EndpointState, Frame, SnapshotEntry};
use signalbox_types::{BlockHash, EndpointKey, Format, Origin, Version};

use crate::error::WireError;
use crate::hello::agreed;
use crate::models;
use crate::parts;
use crate::run::{run, run_message};

/// A frame, to be sent.
pub fn frame_message(frame: &Frame) -> pb::Frame {
    use pb::frame::Frame as Kind;
    let kind = match frame {
        Frame::SnapshotBegin { version: Version { epoch, seq }, format } => {
            let Format { protocol, block_bytes, hash } = *format;
            let format = Some(pb::Format { protocol, block_bytes, hash });
            Kind::SnapshotBegin(pb::SnapshotBegin { epoch: *epoch, seq: *seq, format })
        }
        Frame::SnapshotEntry(entry) => Kind::SnapshotEntry(entry_message(entry)),
        Frame::SnapshotEnd { version: Version { epoch, seq }, count, digest } => {
            let digest = Some(parts::digest_message(*digest));
            Kind::SnapshotEnd(pb::SnapshotEnd { epoch: *epoch, seq: *seq, count: *count, digest })
        }
        Frame::Delta { epoch, from, to, changes } => {
            let changes = changes.iter().map(|change| change_message(change)).collect();
            Kind::Delta(pb::Delta { epoch: *epoch, from: *from, to: *to, changes })
        }
        Frame::EpochChange { from: Version { epoch: from_epoch, seq: base }, epoch } => {
            Kind::EpochChange(pb::EpochChange { epoch: *epoch, from_epoch: *from_epoch, base: *base })
        }
        Frame::Heartbeat { epoch, seq, now_ms, digest } => {
            let digest = Some(parts::digest_message(*digest));
            Kind::Heartbeat(pb::Heartbeat { epoch: *epoch, seq: *seq, now_ms: *now_ms, digest })
        }
    };
    pb::Frame { frame: Some(kind), hello: None }
}

/// A frame that was received.
///
/// # Errors
/// [`WireError`] when it is not of this version.
pub fn frame(message: pb::Frame) -> Result<Frame, WireError> {
    use pb::frame::Frame as Kind;
    Ok(match message.frame.ok_or(WireError::Missing("frame"))? {
        Kind::SnapshotBegin(pb::SnapshotBegin { epoch, seq, format }) => {
            let pb::Format { protocol, block_bytes, hash } = format.ok_or(WireError::Missing("format"))?;
            agreed(protocol)?;
            let format = Format { protocol, block_bytes, hash };
            Frame::SnapshotBegin { version: Version { epoch, seq }, format }
        }
        Kind::SnapshotEntry(message) => Frame::SnapshotEntry(Arc::new(entry(message)?)),
        Kind::SnapshotEnd(pb::SnapshotEnd { epoch, seq, count, digest }) => {
            Frame::SnapshotEnd { version: Version { epoch, seq }, count, digest: parts::digest(digest)? }
        }
        Kind::Delta(pb::Delta { epoch, from, to, changes }) => {
            let changes = changes.into_iter().map(|message| change(message).map(Arc::new));
            Frame::Delta { epoch, from, to, changes: changes.collect::<Result<_, _>>()? }
        }
        Kind::EpochChange(pb::EpochChange { epoch, from_epoch, base }) => {
            Frame::EpochChange { from: Version { epoch: from_epoch, seq: base }, epoch }
        }
        Kind::Heartbeat(pb::Heartbeat { epoch, seq, now_ms, digest }) => {
            Frame::Heartbeat { epoch, seq, now_ms, digest: parts::digest(digest)? }
        }
        Kind::NotOwner(_) | Kind::FetchRequest(_) => return Err(WireError::Missing("part of the state")),
    })
}

fn entry_message(entry: &SnapshotEntry) -> pb::SnapshotEntry {
    use pb::snapshot_entry::Entry as Kind;
    let kind = match entry {
        SnapshotEntry::Endpoint(member) => Kind::Endpoint(member_message(member)),
        SnapshotEntry::Runs(runs) => {
            Kind::Runs(pb::RunsEntry { runs: runs.iter().map(run_message).collect() })
        }
        SnapshotEntry::Origin(origin, number) => {
            Kind::Origin(pb::OriginEntry { origin: origin.0, acknowledged: *number })
        }
        SnapshotEntry::Models(message) => return models::entry_message(message),
    };
    pb::SnapshotEntry { entry: Some(kind), models: None }
}

fn entry(message: pb::SnapshotEntry) -> Result<SnapshotEntry, WireError> {
    use pb::snapshot_entry::Entry as Kind;
    if let Some(message) = message.models {
        return Ok(SnapshotEntry::Models(Arc::new(models::models(message)?)));
    }
    Ok(match message.entry.ok_or(WireError::Missing("entry"))? {
        Kind::Endpoint(message) => SnapshotEntry::Endpoint(Arc::new(member(message)?)),
        Kind::Runs(pb::RunsEntry { runs }) => {
            SnapshotEntry::Runs(runs.into_iter().map(run).collect::<Result<_, _>>()?)
        }
        Kind::Origin(pb::OriginEntry { origin, acknowledged }) => {
            SnapshotEntry::Origin(Origin(origin), acknowledged)
        }
    })
}

fn member_message(member: &EndpointState) -> pb::EndpointEntry {
    let EndpointState { key, spec, observed, assessment, adapters, loads, cold_placement_seq } = member;
    let load = |(origin, load): &(Origin, _)| pb::OriginLoad {
        origin: origin.0,
        load: Some(parts::load_message(*load)),
    };
    pb::EndpointEntry {
        spec: Some(parts::spec_message(spec)),
        observed: Some(parts::observed_message(*key, observed)),
        loads: loads.iter().map(load).collect(),
        adapters: adapters.as_deref().map(parts::shelf_message),
        assessment: Some(parts::assessment_message(assessment)),
        cold_placement_seq: *cold_placement_seq,
    }
}

fn member(message: pb::EndpointEntry) -> Result<EndpointState, WireError> {
    let pb::EndpointEntry { spec, observed, loads, adapters, assessment, cold_placement_seq } = message;
    let (key, observed) = parts::observed(observed.as_ref().ok_or(WireError::Missing("observed"))?)?;
    let spec = parts::spec(spec)?;
    if spec.key() != key {
        return Err(WireError::Bounds("the key of an endpoint"));
    }
    let load = |load: pb::OriginLoad| Ok((Origin(load.origin), parts::load(load.load)?));
    let loads = loads.into_iter().map(load).collect::<Result<_, WireError>>()?;
    let assessment = parts::assessment(assessment)?;
    let adapters = adapters.map(parts::residency).map(Arc::new);
    Ok(EndpointState { key, spec, observed, assessment, adapters, loads, cold_placement_seq })
}

fn change_message(change: &Change) -> pb::Change {
    use pb::change::Change as Kind;
    let kind = match change {
        Change::EndpointSet { spec } => {
            Kind::EndpointSet(pb::EndpointSet { spec: Some(parts::spec_message(spec)) })
        }
        Change::EndpointRemoved { endpoint } => {
            Kind::EndpointRemoved(pb::EndpointRemoved { endpoint: endpoint.0 })
        }
        Change::ModelsSet { models } => return models::change_message(models),
        Change::Observed { endpoint, observed } => {
            Kind::Observed(parts::observed_message(*endpoint, observed))
        }
        Change::AdaptersChanged { endpoint, residency } => {
            let residency = Some(parts::shelf_message(residency));
            Kind::AdaptersChanged(pb::AdaptersChanged { endpoint: endpoint.0, residency })
        }
        Change::Assessed { endpoint, assessment } => {
            let assessment = Some(parts::assessment_message(assessment));
            Kind::Assessed(pb::Assessed { endpoint: endpoint.0, assessment })
        }
        Change::LoadChanged { endpoint, origin, load } => {
            let load = Some(parts::load_message(*load));
            Kind::LoadChanged(pb::LoadChanged { endpoint: endpoint.0, origin: origin.0, load })
        }
        Change::OriginExpired { origin } => Kind::OriginExpired(pb::OriginExpired { origin: origin.0 }),
        Change::Placed { endpoint, anchor, suffix } => {
            let suffix = parts::hashes(suffix);
            Kind::Placed(pb::Placed { endpoint: endpoint.0, anchor: anchor.0, suffix })
        }
        Change::Evicted { endpoint, used, blocks } => {
            Kind::Evicted(pb::Evicted { endpoint: endpoint.0, used: *used, blocks: *blocks })
        }
        Change::Acknowledged { origin, number } => {
            Kind::Acknowledged(pb::Acknowledged { origin: origin.0, number: *number })
        }
    };
    pb::Change { change: Some(kind), models: None }
}

fn change(message: pb::Change) -> Result<Change, WireError> {
    use pb::change::Change as Kind;
    if let Some(message) = message.models {
        return Ok(Change::ModelsSet { models: Arc::new(models::models(message)?) });
    }
    Ok(match message.change.ok_or(WireError::Missing("change"))? {
        Kind::EndpointSet(pb::EndpointSet { spec }) => Change::EndpointSet { spec: parts::spec(spec)? },
        Kind::EndpointRemoved(pb::EndpointRemoved { endpoint }) => {
            Change::EndpointRemoved { endpoint: EndpointKey(endpoint) }
        }
        Kind::Observed(message) => {
            let (endpoint, observed) = parts::observed(&message)?;
            Change::Observed { endpoint, observed }
        }
        Kind::AdaptersChanged(pb::AdaptersChanged { endpoint, residency }) => {
            let residency = Arc::new(parts::residency(residency.ok_or(WireError::Missing("residency"))?));
            Change::AdaptersChanged { endpoint: EndpointKey(endpoint), residency }
        }
        Kind::Assessed(pb::Assessed { endpoint, assessment }) => {
            let assessment = parts::assessment(assessment)?;
            Change::Assessed { endpoint: EndpointKey(endpoint), assessment }
        }
        Kind::LoadChanged(pb::LoadChanged { endpoint, origin, load }) => {
            let (endpoint, origin) = (EndpointKey(endpoint), Origin(origin));
            Change::LoadChanged { endpoint, origin, load: parts::load(load)? }
        }
        Kind::OriginExpired(pb::OriginExpired { origin }) => Change::OriginExpired { origin: Origin(origin) },
        Kind::Placed(pb::Placed { endpoint, anchor, suffix }) => {
            let (endpoint, anchor) = (EndpointKey(endpoint), BlockHash(anchor));
            Change::Placed { endpoint, anchor, suffix: parts::chain(suffix)? }
        }
        Kind::Evicted(pb::Evicted { endpoint, used, blocks }) => {
            Change::Evicted { endpoint: EndpointKey(endpoint), used, blocks }
        }
        Kind::Acknowledged(pb::Acknowledged { origin, number }) => {
            Change::Acknowledged { origin: Origin(origin), number }
        }
    })
}
