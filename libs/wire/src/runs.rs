//! Runs of blocks in a snapshot.

use signalbox_prefix::{ConfirmedRun, PlacedRun, Residency, Run};
use signalbox_protos::signalbox::v1 as pb;
use signalbox_types::{BlockHash, EndpointKey};

use crate::error::WireError;
use crate::shared;

pub(crate) fn encode_run(run: &Run) -> pb::Run {
    let Run { parent, start, blocks, placed, confirmed } = run;
    pb::Run {
        parent: parent.0,
        start: *start,
        blocks: shared::encode_blocks(blocks),
        holders: placed.iter().map(|each| each.endpoint.0).collect(),
        ends: placed.iter().map(|each| each.end).collect(),
        used: placed.iter().map(|each| each.used).collect(),
        confirmed: confirmed.iter().map(encode_confirmed_run).collect(),
    }
}

pub(crate) fn decode_run(message: pb::Run) -> Result<Run, WireError> {
    let pb::Run { parent, start, blocks, holders, ends, used, confirmed } = message;
    if blocks.is_empty() || holders.len() != ends.len() || holders.len() != used.len() {
        return Err(WireError::Bounds("snapshot run"));
    }
    let placed = holders.into_iter().zip(ends).zip(used);
    let placed =
        placed.map(|((endpoint, end), used)| PlacedRun { endpoint: EndpointKey(endpoint), end, used });
    Ok(Run {
        parent: BlockHash(parent),
        start,
        blocks: shared::decode_blocks(blocks)?,
        placed: placed.collect(),
        confirmed: confirmed.into_iter().map(decode_confirmed_run).collect::<Result<_, _>>()?,
    })
}

fn encode_confirmed_run(confirmed: &ConfirmedRun) -> pb::ConfirmedRun {
    let ConfirmedRun { endpoint, residency, from, to } = *confirmed;
    let residency = match residency {
        Residency::Device => pb::Residency::Device,
        Residency::Host => pb::Residency::Host,
        Residency::Disk => pb::Residency::Disk,
    };
    pb::ConfirmedRun { endpoint: endpoint.0, residency: residency.into(), from, to }
}

fn decode_confirmed_run(message: pb::ConfirmedRun) -> Result<ConfirmedRun, WireError> {
    let residency = match pb::Residency::try_from(message.residency) {
        Ok(pb::Residency::Device) => Residency::Device,
        Ok(pb::Residency::Host) => Residency::Host,
        Ok(pb::Residency::Disk) => Residency::Disk,
        Err(_) => return Err(WireError::Missing("residency")),
    };
    let pb::ConfirmedRun { endpoint, residency: _, from, to } = message;
    Ok(ConfirmedRun { endpoint: EndpointKey(endpoint), residency, from, to })
}
