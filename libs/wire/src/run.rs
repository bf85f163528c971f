//! Runs of blocks, as they stand in a snapshot.

use signalbox_prefix::{ConfirmedRun, PlacedRun, Run, Tier};
use signalbox_protos::signalbox::v1 as pb;
use signalbox_types::{BlockHash, EndpointKey};

use crate::error::WireError;
use crate::parts;

pub(crate) fn run_message(run: &Run) -> pb::Run {
    let Run { parent, start, blocks, placed, confirmed } = run;
    pb::Run {
        parent: parent.0,
        start: *start,
        blocks: parts::hashes(blocks),
        holders: placed.iter().map(|each| each.endpoint.0).collect(),
        ends: placed.iter().map(|each| each.end).collect(),
        used: placed.iter().map(|each| each.used).collect(),
        confirmed: confirmed.iter().map(confirmed_message).collect(),
    }
}

pub(crate) fn run(message: pb::Run) -> Result<Run, WireError> {
    let pb::Run { parent, start, blocks, holders, ends, used, confirmed } = message;
    if blocks.is_empty() || holders.len() != ends.len() || holders.len() != used.len() {
        return Err(WireError::Bounds("a run of a snapshot"));
    }
    let placed = holders.into_iter().zip(ends).zip(used);
    let placed =
        placed.map(|((endpoint, end), used)| PlacedRun { endpoint: EndpointKey(endpoint), end, used });
    Ok(Run {
        parent: BlockHash(parent),
        start,
        blocks: parts::chain(blocks)?,
        placed: placed.collect(),
        confirmed: confirmed.into_iter().map(confirmed_run).collect::<Result<_, _>>()?,
    })
}

fn confirmed_message(confirmed: &ConfirmedRun) -> pb::ConfirmedRun {
    let ConfirmedRun { endpoint, tier, from, to } = *confirmed;
    let tier = match tier {
        Tier::Device => pb::Tier::Device,
        Tier::Host => pb::Tier::Host,
        Tier::Disk => pb::Tier::Disk,
    };
    pb::ConfirmedRun { endpoint: endpoint.0, tier: tier.into(), from, to }
}

fn confirmed_run(message: pb::ConfirmedRun) -> Result<ConfirmedRun, WireError> {
    let tier = match pb::Tier::try_from(message.tier) {
        Ok(pb::Tier::Device) => Tier::Device,
        Ok(pb::Tier::Host) => Tier::Host,
        Ok(pb::Tier::Disk) => Tier::Disk,
        Err(_) => return Err(WireError::Missing("tier")),
    };
    let pb::ConfirmedRun { endpoint, tier: _, from, to } = message;
    Ok(ConfirmedRun { endpoint: EndpointKey(endpoint), tier, from, to })
}
