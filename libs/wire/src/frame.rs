//! Between the pool's owner and its followers: frames.

use std::sync::Arc;

use signalbox_protos::signalbox::v1 as pb;
use signalbox_state::{Change, Entry, Frame, Member};
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
        Frame::Init { version: Version { epoch, seq }, format } => {
            let Format { protocol, block_bytes, hash } = *format;
            let format = Some(pb::Format { protocol, block_bytes, hash });
            Kind::Init(pb::Init { epoch: *epoch, seq: *seq, format })
        }
        Frame::Entry(entry) => Kind::Entry(entry_message(entry)),
        Frame::InitDone { version: Version { epoch, seq }, count, digest } => {
            let digest = Some(parts::digest_message(*digest));
            Kind::InitDone(pb::InitDone { epoch: *epoch, seq: *seq, count: *count, digest })
        }
        Frame::Delta { epoch, from, to, changes } => {
            let changes = changes.iter().map(|change| change_message(change)).collect();
            Kind::Delta(pb::Delta { epoch: *epoch, from: *from, to: *to, changes })
        }
        Frame::Turn { from: Version { epoch: from_epoch, seq: base }, epoch } => {
            Kind::Turn(pb::Turn { epoch: *epoch, from_epoch: *from_epoch, base: *base })
        }
        Frame::Beat { epoch, seq, now_ms, digest } => {
            let digest = Some(parts::digest_message(*digest));
            Kind::Beat(pb::Beat { epoch: *epoch, seq: *seq, now_ms: *now_ms, digest })
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
        Kind::Init(pb::Init { epoch, seq, format }) => {
            let pb::Format { protocol, block_bytes, hash } = format.ok_or(WireError::Missing("format"))?;
            agreed(protocol)?;
            let format = Format { protocol, block_bytes, hash };
            Frame::Init { version: Version { epoch, seq }, format }
        }
        Kind::Entry(message) => Frame::Entry(Arc::new(entry(message)?)),
        Kind::InitDone(pb::InitDone { epoch, seq, count, digest }) => {
            Frame::InitDone { version: Version { epoch, seq }, count, digest: parts::digest(digest)? }
        }
        Kind::Delta(pb::Delta { epoch, from, to, changes }) => {
            let changes = changes.into_iter().map(|message| change(message).map(Arc::new));
            Frame::Delta { epoch, from, to, changes: changes.collect::<Result<_, _>>()? }
        }
        Kind::Turn(pb::Turn { epoch, from_epoch, base }) => {
            Frame::Turn { from: Version { epoch: from_epoch, seq: base }, epoch }
        }
        Kind::Beat(pb::Beat { epoch, seq, now_ms, digest }) => {
            Frame::Beat { epoch, seq, now_ms, digest: parts::digest(digest)? }
        }
        Kind::Standing(_) | Kind::Ask(_) => return Err(WireError::Missing("part of the state")),
    })
}

fn entry_message(entry: &Entry) -> pb::Entry {
    use pb::entry::Entry as Kind;
    let kind = match entry {
        Entry::Endpoint(member) => Kind::Endpoint(member_message(member)),
        Entry::Runs(runs) => Kind::Runs(pb::RunsEntry { runs: runs.iter().map(run_message).collect() }),
        Entry::Origin(origin, number) => {
            Kind::Origin(pb::OriginEntry { origin: origin.0, acknowledged: *number })
        }
        Entry::Models(said) => return models::entry_message(said),
    };
    pb::Entry { entry: Some(kind), models: None }
}

fn entry(message: pb::Entry) -> Result<Entry, WireError> {
    use pb::entry::Entry as Kind;
    if let Some(said) = message.models {
        return Ok(Entry::Models(Arc::new(models::models(said)?)));
    }
    Ok(match message.entry.ok_or(WireError::Missing("entry"))? {
        Kind::Endpoint(message) => Entry::Endpoint(Arc::new(member(message)?)),
        Kind::Runs(pb::RunsEntry { runs }) => {
            Entry::Runs(runs.into_iter().map(run).collect::<Result<_, _>>()?)
        }
        Kind::Origin(pb::OriginEntry { origin, acknowledged }) => Entry::Origin(Origin(origin), acknowledged),
    })
}

fn member_message(member: &Member) -> pb::EndpointEntry {
    let Member { key, spec, observed, assessment, adapters, loads, cold_seq } = member;
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
        cold_seq: *cold_seq,
    }
}

fn member(message: pb::EndpointEntry) -> Result<Member, WireError> {
    let pb::EndpointEntry { spec, observed, loads, adapters, assessment, cold_seq } = message;
    let (key, observed) = parts::observed(observed.as_ref().ok_or(WireError::Missing("observed"))?)?;
    let spec = parts::spec(spec)?;
    if spec.key() != key {
        return Err(WireError::Bounds("the key of an endpoint"));
    }
    let load = |load: pb::OriginLoad| Ok((Origin(load.origin), parts::load(load.load)?));
    let loads = loads.into_iter().map(load).collect::<Result<_, WireError>>()?;
    let assessment = parts::assessment(assessment)?;
    let adapters = adapters.map(parts::shelf).map(Arc::new);
    Ok(Member { key, spec, observed, assessment, adapters, loads, cold_seq })
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
        Change::Shelved { endpoint, shelf } => {
            let shelf = Some(parts::shelf_message(shelf));
            Kind::Shelved(pb::Shelved { endpoint: endpoint.0, shelf })
        }
        Change::Assessed { endpoint, assessment } => {
            let assessment = Some(parts::assessment_message(assessment));
            Kind::Assessed(pb::Assessed { endpoint: endpoint.0, assessment })
        }
        Change::Loaded { endpoint, origin, load } => {
            let load = Some(parts::load_message(*load));
            Kind::Loaded(pb::Loaded { endpoint: endpoint.0, origin: origin.0, load })
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
    if let Some(said) = message.models {
        return Ok(Change::ModelsSet { models: Arc::new(models::models(said)?) });
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
        Kind::Shelved(pb::Shelved { endpoint, shelf }) => {
            let shelf = Arc::new(parts::shelf(shelf.ok_or(WireError::Missing("shelf"))?));
            Change::Shelved { endpoint: EndpointKey(endpoint), shelf }
        }
        Kind::Assessed(pb::Assessed { endpoint, assessment }) => {
            let assessment = parts::assessment(assessment)?;
            Change::Assessed { endpoint: EndpointKey(endpoint), assessment }
        }
        Kind::Loaded(pb::Loaded { endpoint, origin, load }) => {
            let (endpoint, origin) = (EndpointKey(endpoint), Origin(origin));
            Change::Loaded { endpoint, origin, load: parts::load(load)? }
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
