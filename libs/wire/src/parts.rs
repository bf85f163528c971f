//! The parts that several messages share.

use std::sync::Arc;

use signalbox_protos::signalbox::v1 as pb;
use signalbox_state::{AdapterResidency, Assessment, Circuit, Digest, Observed, ScrapeStatus};
use signalbox_types::{
    Adapters, BlockHash, Capacity, EndpointKey, EndpointSpec, Gauges, Incarnation, Load, Rates,
};

use crate::error::WireError;

pub(crate) fn reach_message(scrape_status: ScrapeStatus) -> i32 {
    let scrape_status = match scrape_status {
        ScrapeStatus::Unknown => pb::ScrapeStatus::Unspecified,
        ScrapeStatus::Fresh => pb::ScrapeStatus::Fresh,
        ScrapeStatus::Stale => pb::ScrapeStatus::Stale,
        ScrapeStatus::Down => pb::ScrapeStatus::Down,
    };
    scrape_status.into()
}

pub(crate) fn scrape_status(number: i32) -> Result<ScrapeStatus, WireError> {
    match pb::ScrapeStatus::try_from(number) {
        Ok(pb::ScrapeStatus::Unspecified) => Ok(ScrapeStatus::Unknown),
        Ok(pb::ScrapeStatus::Fresh) => Ok(ScrapeStatus::Fresh),
        Ok(pb::ScrapeStatus::Stale) => Ok(ScrapeStatus::Stale),
        Ok(pb::ScrapeStatus::Down) => Ok(ScrapeStatus::Down),
        Err(_) => Err(WireError::Missing("scrape_status")),
    }
}

pub(crate) fn gauges_message(gauges: Gauges) -> pb::Gauges {
    let Gauges { waiting, running, kv_used_ppm } = gauges;
    pb::Gauges { waiting, running, kv_used_ppm }
}

pub(crate) fn gauges(message: &pb::Gauges) -> Gauges {
    let pb::Gauges { waiting, running, kv_used_ppm } = *message;
    Gauges { waiting, running, kv_used_ppm }
}

pub(crate) fn capacity_message(capacity: Capacity) -> pb::Capacity {
    let Capacity { kv_tokens } = capacity;
    pb::Capacity { kv_tokens }
}

pub(crate) fn capacity(message: &pb::Capacity) -> Capacity {
    let pb::Capacity { kv_tokens } = *message;
    Capacity { kv_tokens }
}

fn names_message(names: &[Arc<str>]) -> Vec<String> {
    names.iter().map(|name| name.to_string()).collect()
}

fn names(names: Vec<String>) -> Vec<Arc<str>> {
    names.into_iter().map(Arc::from).collect()
}

pub(crate) fn adapters_message(adapters: &Adapters) -> pb::Adapters {
    let Adapters { slots, running, waiting } = adapters;
    pb::Adapters { slots: *slots, running: names_message(running), waiting: names_message(waiting) }
}

pub(crate) fn adapters(message: pb::Adapters) -> Adapters {
    let pb::Adapters { slots, running, waiting } = message;
    Adapters { slots, running: names(running), waiting: names(waiting) }
}

pub(crate) fn shelf_message(residency: &AdapterResidency) -> pb::AdapterResidency {
    let AdapterResidency { seen, device, host } = residency;
    pb::AdapterResidency {
        seen: Some(adapters_message(seen)),
        device: names_message(device),
        host: names_message(host),
    }
}

pub(crate) fn residency(message: pb::AdapterResidency) -> AdapterResidency {
    let pb::AdapterResidency { seen, device, host } = message;
    AdapterResidency {
        seen: seen.map(adapters).unwrap_or_default(),
        device: names(device),
        host: names(host),
    }
}

pub(crate) fn assessment_message(assessment: &Assessment) -> pb::Assessment {
    let Assessment { rates, circuit, ramp_percent } = *assessment;
    let Rates { prefill_tokens_per_second, decode_token_us, decode_interference_us } = rates;
    let circuit = match circuit {
        Circuit::Sound => pb::Circuit::Sound,
        Circuit::Probing => pb::Circuit::Probing,
        Circuit::Broken => pb::Circuit::Broken,
    };
    pb::Assessment {
        prefill_tokens_per_second,
        decode_token_us,
        decode_interference_us,
        circuit: circuit.into(),
        ramp_percent: ramp_percent.into(),
    }
}

pub(crate) fn assessment(message: Option<pb::Assessment>) -> Result<Assessment, WireError> {
    let pb::Assessment {
        prefill_tokens_per_second,
        decode_token_us,
        decode_interference_us,
        circuit,
        ramp_percent,
    } = message.ok_or(WireError::Missing("assessment"))?;
    let circuit = match pb::Circuit::try_from(circuit) {
        Ok(pb::Circuit::Sound) => Circuit::Sound,
        Ok(pb::Circuit::Probing) => Circuit::Probing,
        Ok(pb::Circuit::Broken) => Circuit::Broken,
        Err(_) => return Err(WireError::Missing("circuit")),
    };
    let ramp_percent = ramp_percent.try_into().map_err(|_| WireError::Bounds("a ramp"))?;
    let rates = Rates { prefill_tokens_per_second, decode_token_us, decode_interference_us };
    Ok(Assessment { rates, circuit, ramp_percent })
}

pub(crate) fn load_message(load: Load) -> pb::Load {
    let Load { requests, prefills, prefill_tokens } = load;
    pb::Load { requests, prefills, prefill_tokens }
}

pub(crate) fn load(message: Option<pb::Load>) -> Result<Load, WireError> {
    let pb::Load { requests, prefills, prefill_tokens } = message.ok_or(WireError::Missing("load"))?;
    Ok(Load { requests, prefills, prefill_tokens })
}

pub(crate) fn spec_message(spec: &EndpointSpec) -> pb::EndpointSpec {
    let EndpointSpec { name, address, metrics_url, engine, labels } = spec;
    pb::EndpointSpec {
        name: name.clone(),
        address: address.to_string(),
        engine: engine.name().to_owned(),
        labels: labels.clone().into_iter().collect(),
        metrics_url: metrics_url.clone(),
    }
}

pub(crate) fn spec(message: Option<pb::EndpointSpec>) -> Result<Arc<EndpointSpec>, WireError> {
    let message = message.ok_or(WireError::Missing("spec"))?;
    let pb::EndpointSpec { name, address, engine, labels, metrics_url } = message;
    let address = address.parse().map_err(|_| WireError::Address(address))?;
    let labels = labels.into_iter().collect();
    Ok(Arc::new(EndpointSpec { name, address, metrics_url, engine: engine.parse()?, labels }))
}

pub(crate) fn observed_message(endpoint: EndpointKey, observed: &Observed) -> pb::Observed {
    let Observed { incarnation, scrape_status, scrape_status_since_ms, gauges, unbooked_requests, capacity } =
        observed;
    pb::Observed {
        endpoint: endpoint.0,
        incarnation: incarnation.0,
        scrape_status: reach_message(*scrape_status),
        scrape_status_since_ms: *scrape_status_since_ms,
        gauges: Some(gauges_message(*gauges)),
        unbooked_requests: *unbooked_requests,
        capacity: capacity.map(capacity_message),
    }
}

pub(crate) fn observed(message: &pb::Observed) -> Result<(EndpointKey, Observed), WireError> {
    let pb::Observed {
        endpoint,
        incarnation,
        scrape_status: reach_number,
        scrape_status_since_ms,
        gauges: load,
        unbooked_requests,
        capacity: size,
    } = message;
    let observed = Observed {
        incarnation: Incarnation(*incarnation),
        scrape_status: scrape_status(*reach_number)?,
        scrape_status_since_ms: *scrape_status_since_ms,
        gauges: gauges(load.as_ref().ok_or(WireError::Missing("gauges"))?),
        unbooked_requests: *unbooked_requests,
        capacity: size.as_ref().map(capacity),
    };
    Ok((EndpointKey(*endpoint), observed))
}

pub(crate) fn digest_message(digest: Digest) -> pb::Digest {
    let Digest { specs, observed, loads, placements, models } = digest;
    pb::Digest { specs, observed, loads, placements, models }
}

pub(crate) fn digest(message: Option<pb::Digest>) -> Result<Digest, WireError> {
    let pb::Digest { specs, observed, loads, placements, models } =
        message.ok_or(WireError::Missing("digest"))?;
    Ok(Digest { specs, observed, loads, placements, models })
}

pub(crate) fn hashes(suffix: &[BlockHash]) -> Vec<u64> {
    suffix.iter().map(|block| block.0).collect()
}

/// A block; the root is none.
pub(crate) fn block(hash: u64) -> Result<BlockHash, WireError> {
    let block = Some(BlockHash(hash)).filter(|block| *block != BlockHash::ROOT);
    block.ok_or(WireError::Bounds("a block hash"))
}

/// The blocks of a chain.
pub(crate) fn chain(hashes: Vec<u64>) -> Result<Arc<[BlockHash]>, WireError> {
    hashes.into_iter().map(block).collect()
}
