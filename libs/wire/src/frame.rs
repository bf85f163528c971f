//! Frames from the pool's owner to its followers.

use std::sync::Arc;

use prost::Message;
use prost::bytes::Bytes;
use signalbox_protos::signalbox::v1 as pb;
use signalbox_state::{Change, Changes, EndpointState, Frame, SnapshotEntry};
use signalbox_types::{BlockHash, EndpointKey, Format, Load, Origin, Version};

use crate::error::WireError;
use crate::flows;
use crate::hello::check_protocol;
use crate::learned;
use crate::models;
use crate::no_op::{no_op_change, no_op_entry};
use crate::revocable;
use crate::runs::{decode_run, encode_run};
use crate::shared;
use crate::signal;
use crate::stored_responses;

/// Encodes a frame.
pub fn encode_frame(frame: &Frame) -> pb::Frame {
    use pb::frame::Frame as Kind;
    let kind = match frame {
        Frame::SnapshotBegin { version: Version { epoch, seq }, format } => {
            let Format { protocol, block_bytes, hash } = *format;
            let format = Some(pb::Format { protocol, block_bytes, hash });
            Kind::SnapshotBegin(pb::SnapshotBegin { epoch: *epoch, seq: *seq, format })
        }
        Frame::SnapshotEntry(entry) => Kind::SnapshotEntry(encode_entry(entry)),
        Frame::SnapshotEnd { version: Version { epoch, seq }, count, digest } => {
            let digest = Some(shared::encode_digest(*digest));
            Kind::SnapshotEnd(pb::SnapshotEnd { epoch: *epoch, seq: *seq, count: *count, digest })
        }
        Frame::Delta { epoch, from, to, changes } => Kind::Delta(encode_delta(*epoch, *from, *to, changes)),
        Frame::EpochChange { from: Version { epoch: from_epoch, seq: from_seq }, epoch } => {
            Kind::EpochChange(pb::EpochChange { epoch: *epoch, from_epoch: *from_epoch, from_seq: *from_seq })
        }
        Frame::Heartbeat { epoch, seq, now_ms, digest } => {
            let digest = Some(shared::encode_digest(*digest));
            Kind::Heartbeat(pb::Heartbeat { epoch: *epoch, seq: *seq, now_ms: *now_ms, digest })
        }
    };
    pb::Frame { frame: Some(kind), hello: None }
}

/// Decodes a frame.
///
/// # Errors
/// [`WireError`] when the frame is invalid in this version.
pub fn decode_frame(message: pb::Frame) -> Result<Frame, WireError> {
    use pb::frame::Frame as Kind;
    Ok(match message.frame.ok_or(WireError::Missing("frame"))? {
        Kind::SnapshotBegin(pb::SnapshotBegin { epoch, seq, format }) => {
            let pb::Format { protocol, block_bytes, hash } = format.ok_or(WireError::Missing("format"))?;
            check_protocol(protocol)?;
            let format = Format { protocol, block_bytes, hash };
            Frame::SnapshotBegin { version: Version { epoch, seq }, format }
        }
        Kind::SnapshotEntry(message) => Frame::SnapshotEntry(Arc::new(decode_entry(message)?)),
        Kind::SnapshotEnd(pb::SnapshotEnd { epoch, seq, count, digest }) => Frame::SnapshotEnd {
            version: Version { epoch, seq },
            count,
            digest: shared::decode_digest(digest)?,
        },
        Kind::Delta(encoded) => decode_delta(encoded)?,
        Kind::EpochChange(pb::EpochChange { epoch, from_epoch, from_seq }) => {
            Frame::EpochChange { from: Version { epoch: from_epoch, seq: from_seq }, epoch }
        }
        Kind::Heartbeat(pb::Heartbeat { epoch, seq, now_ms, digest }) => {
            Frame::Heartbeat { epoch, seq, now_ms, digest: shared::decode_digest(digest)? }
        }
        Kind::NotOwner(_) | Kind::FetchRequest(_) => return Err(WireError::Missing("state frame")),
    })
}

fn encode_entry(entry: &SnapshotEntry) -> pb::SnapshotEntry {
    use pb::snapshot_entry::Entry as Kind;
    let kind = match entry {
        SnapshotEntry::Endpoint(state, loads) => Kind::Endpoint(encode_endpoint_state(state, loads)),
        SnapshotEntry::Runs(runs) => {
            Kind::Runs(pb::RunsEntry { runs: runs.iter().map(encode_run).collect() })
        }
        SnapshotEntry::Origin(origin, number) => {
            Kind::Origin(pb::OriginEntry { origin: origin.0, acknowledged: *number })
        }
        SnapshotEntry::Models(message) => return models::encode_entry(message),
        SnapshotEntry::TokenRatios(ratios) => return learned::encode_entry(ratios),
        SnapshotEntry::StoredResponses(parts) => return stored_responses::encode_entry(parts),
        SnapshotEntry::ProvisionalSince(epoch) => {
            return pb::SnapshotEntry { provisional_since: *epoch, ..no_op_entry() };
        }
        SnapshotEntry::Flow(part) => {
            return pb::SnapshotEntry { flow: Some(flows::encode_part(part)), ..no_op_entry() };
        }
        SnapshotEntry::Signal(signal) => {
            return pb::SnapshotEntry { signal: Some(signal::encode(signal)), ..no_op_entry() };
        }
    };
    pb::SnapshotEntry { entry: Some(kind), ..pb::SnapshotEntry::default() }
}

fn decode_entry(message: pb::SnapshotEntry) -> Result<SnapshotEntry, WireError> {
    use pb::snapshot_entry::Entry as Kind;
    if let Some(message) = message.models {
        return Ok(SnapshotEntry::Models(Arc::new(models::decode_models(message)?)));
    }
    if !message.token_ratios.is_empty() {
        return Ok(SnapshotEntry::TokenRatios(Arc::new(learned::decode_entry(&message.token_ratios)?)));
    }
    if !message.stored_responses.is_empty() {
        let parts = stored_responses::decode_entry(&message.stored_responses)?;
        return Ok(SnapshotEntry::StoredResponses(parts));
    }
    if message.provisional_since > 0 {
        return Ok(SnapshotEntry::ProvisionalSince(message.provisional_since));
    }
    if let Some(message) = message.flow {
        return Ok(SnapshotEntry::Flow(flows::decode_part(message)?));
    }
    if let Some(message) = message.signal {
        return Ok(SnapshotEntry::Signal(Arc::new(signal::decode(message))));
    }
    Ok(match message.entry.ok_or(WireError::Missing("entry"))? {
        Kind::Endpoint(message) => {
            let (state, loads) = decode_endpoint_state(message)?;
            SnapshotEntry::Endpoint(Arc::new(state), loads)
        }
        Kind::Runs(pb::RunsEntry { runs }) => {
            SnapshotEntry::Runs(runs.into_iter().map(decode_run).collect::<Result<_, _>>()?)
        }
        Kind::Origin(pb::OriginEntry { origin, acknowledged }) => {
            SnapshotEntry::Origin(Origin(origin), acknowledged)
        }
    })
}

fn encode_endpoint_state(state: &EndpointState, loads: &[(Origin, Load)]) -> pb::EndpointState {
    let EndpointState { key, spec, observed, assessment, adapters, cold_placement_seq, cache_accuracy } =
        state;
    let load = |(origin, load): &(Origin, Load)| pb::OriginLoad {
        origin: origin.0,
        load: Some(shared::encode_load(*load)),
    };
    pb::EndpointState {
        spec: Some(shared::encode_spec(spec)),
        observed: Some(shared::encode_observed(*key, observed)),
        loads: loads.iter().map(load).collect(),
        adapters: adapters.as_deref().map(shared::encode_residency),
        assessment: Some(shared::encode_assessment(assessment)),
        cold_placement_seq: *cold_placement_seq,
        cache_accuracy: Some(*cache_accuracy)
            .filter(|accuracy| !accuracy.is_default())
            .map(learned::encode_accuracy),
    }
}

fn decode_endpoint_state(
    message: pb::EndpointState,
) -> Result<(EndpointState, Vec<(Origin, Load)>), WireError> {
    let pb::EndpointState { spec, observed, loads, adapters, assessment, cold_placement_seq, cache_accuracy } =
        message;
    let (key, observed) = shared::decode_observed(observed.as_ref().ok_or(WireError::Missing("observed"))?)?;
    let spec = shared::decode_spec(spec)?;
    if spec.key() != key {
        return Err(WireError::Bounds("endpoint key"));
    }
    let load = |load: pb::OriginLoad| Ok((Origin(load.origin), shared::decode_load(load.load)?));
    let loads = loads.into_iter().map(load).collect::<Result<_, WireError>>()?;
    let assessment = shared::decode_assessment(assessment)?;
    let adapters = adapters.map(shared::decode_residency).transpose()?.map(Arc::new);
    let cache_accuracy = learned::decode_accuracy(cache_accuracy)?;
    let state =
        EndpointState { key, spec, observed, assessment, adapters, cold_placement_seq, cache_accuracy };
    Ok((state, loads))
}

/// Encodes a delta. Each chunk of changes is encoded once, however many followers are sent it: the encoded parts of a
/// protobuf message, one after the other, are the encoded message.
fn encode_delta(epoch: u64, from: u64, to: u64, changes: &Changes) -> Bytes {
    let encode = |changes: &[Change]| {
        let changes = changes.iter().map(encode_change).collect();
        pb::Delta { changes, ..pb::Delta::default() }.encode_to_vec()
    };
    let head = pb::Delta { epoch, from, to, changes: Vec::new() }.encode_to_vec();
    let chunks = changes.chunks().iter().map(|chunk| chunk.encoded(encode));
    let parts: Vec<_> = std::iter::once(head.as_slice()).chain(chunks).collect();
    parts.concat().into()
}

fn decode_delta(encoded: Bytes) -> Result<Frame, WireError> {
    let pb::Delta { epoch, from, to, changes } =
        pb::Delta::decode(encoded).map_err(|_| WireError::Bounds("delta"))?;
    let changes = changes.into_iter().map(decode_change).collect::<Result<_, _>>()?;
    Ok(Frame::Delta { epoch, from, to, changes })
}

fn encode_change(change: &Change) -> pb::Change {
    use pb::change::Change as Kind;
    let kind = match change {
        Change::EndpointSet { spec } => {
            Kind::EndpointSet(pb::EndpointSet { spec: Some(shared::encode_spec(spec)) })
        }
        Change::EndpointRemoved { endpoint } => {
            Kind::EndpointRemoved(pb::EndpointRemoved { endpoint: endpoint.0 })
        }
        Change::ModelsSet { models } => return models::encode_change(models),
        Change::TokenRatioLearned { model, ratio } => return learned::encode_ratio_change(*model, *ratio),
        Change::CacheAccuracyChanged { endpoint, accuracy } => {
            return learned::encode_accuracy_change(*endpoint, *accuracy);
        }
        Change::ResponseStored { response, endpoint } => {
            return stored_responses::encode_change(*response, *endpoint);
        }
        Change::ProvisionalSet { since } => {
            return pb::Change { provisional_since: Some(*since), ..no_op_change() };
        }
        Change::Flow(change) => {
            return flows::encode_change(change);
        }
        Change::Signalled { signal } => {
            return pb::Change { signal: Some(signal::encode(signal)), ..no_op_change() };
        }
        Change::Observed { endpoint, observed } => {
            Kind::Observed(shared::encode_observed(*endpoint, observed))
        }
        Change::AdaptersChanged { endpoint, residency } => {
            let residency = Some(shared::encode_residency(residency));
            Kind::AdaptersChanged(pb::AdaptersChanged { endpoint: endpoint.0, residency })
        }
        Change::Assessed { endpoint, assessment } => {
            let assessment = Some(shared::encode_assessment(assessment));
            Kind::Assessed(pb::Assessed { endpoint: endpoint.0, assessment })
        }
        Change::LoadChanged { endpoint, origin, load } => {
            let load = Some(shared::encode_load(*load));
            Kind::LoadChanged(pb::LoadChanged { endpoint: endpoint.0, origin: origin.0, load })
        }
        Change::OriginExpired { origin } => Kind::OriginExpired(pb::OriginExpired { origin: origin.0 }),
        Change::Placed { endpoint, anchor, suffix } => {
            let suffix = shared::encode_blocks(suffix);
            Kind::Placed(pb::Placed { endpoint: endpoint.0, anchor: anchor.0, suffix })
        }
        Change::Evicted { endpoint, last_used_seq, blocks } => Kind::Evicted(pb::Evicted {
            endpoint: endpoint.0,
            last_used_seq: *last_used_seq,
            blocks: *blocks,
        }),
        Change::Acknowledged { origin, number } => {
            Kind::Acknowledged(pb::Acknowledged { origin: origin.0, number: *number })
        }
    };
    pb::Change { change: Some(kind), ..pb::Change::default() }
}

fn decode_change(message: pb::Change) -> Result<Change, WireError> {
    use pb::change::Change as Kind;
    if let Some(message) = message.models {
        return Ok(Change::ModelsSet { models: Arc::new(models::decode_models(message)?) });
    }
    if let Some(message) = message.token_ratio {
        let (model, ratio) = learned::decode_token_ratio(&message)?;
        return Ok(Change::TokenRatioLearned { model, ratio });
    }
    if let Some(pb::CacheAccuracyChanged { endpoint, accuracy }) = message.cache_accuracy {
        let accuracy = learned::decode_accuracy(accuracy)?;
        return Ok(Change::CacheAccuracyChanged { endpoint: EndpointKey(endpoint), accuracy });
    }
    if let Some(message) = message.stored_response {
        let (response, endpoint) = stored_responses::decode_change(message);
        return Ok(Change::ResponseStored { response, endpoint });
    }
    if let Some(since) = message.provisional_since {
        return Ok(Change::ProvisionalSet { since });
    }
    if let Some(message) = message.flow {
        return Ok(Change::Flow(flows::decode_change(message)?));
    }
    if let Some(message) = message.revocable {
        return Ok(Change::Flow(revocable::decode_change(message)?));
    }
    if let Some(message) = message.signal {
        return Ok(Change::Signalled { signal: Arc::new(signal::decode(message)) });
    }
    Ok(match message.change.ok_or(WireError::Missing("change"))? {
        Kind::EndpointSet(pb::EndpointSet { spec }) => {
            Change::EndpointSet { spec: shared::decode_spec(spec)? }
        }
        Kind::EndpointRemoved(pb::EndpointRemoved { endpoint }) => {
            Change::EndpointRemoved { endpoint: EndpointKey(endpoint) }
        }
        Kind::Observed(message) => {
            let (endpoint, observed) = shared::decode_observed(&message)?;
            Change::Observed { endpoint, observed }
        }
        Kind::AdaptersChanged(pb::AdaptersChanged { endpoint, residency }) => {
            let residency =
                Arc::new(shared::decode_residency(residency.ok_or(WireError::Missing("residency"))?)?);
            Change::AdaptersChanged { endpoint: EndpointKey(endpoint), residency }
        }
        Kind::Assessed(pb::Assessed { endpoint, assessment }) => {
            let assessment = shared::decode_assessment(assessment)?;
            Change::Assessed { endpoint: EndpointKey(endpoint), assessment }
        }
        Kind::LoadChanged(pb::LoadChanged { endpoint, origin, load }) => {
            let (endpoint, origin) = (EndpointKey(endpoint), Origin(origin));
            Change::LoadChanged { endpoint, origin, load: shared::decode_load(load)? }
        }
        Kind::OriginExpired(pb::OriginExpired { origin }) => Change::OriginExpired { origin: Origin(origin) },
        Kind::Placed(pb::Placed { endpoint, anchor, suffix }) => {
            let (endpoint, anchor) = (EndpointKey(endpoint), BlockHash(anchor));
            Change::Placed { endpoint, anchor, suffix: shared::decode_blocks(suffix)? }
        }
        Kind::Evicted(pb::Evicted { endpoint, last_used_seq, blocks }) => {
            Change::Evicted { endpoint: EndpointKey(endpoint), last_used_seq, blocks }
        }
        Kind::Acknowledged(pb::Acknowledged { origin, number }) => {
            Change::Acknowledged { origin: Origin(origin), number }
        }
    })
}
