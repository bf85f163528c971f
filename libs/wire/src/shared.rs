//! Parts that several messages share.

use std::sync::Arc;

use signalbox_protos::signalbox::v1 as pb;
use signalbox_state::{AdapterResidency, Assessment, Circuit, Digest, ModelCircuit, Observed, ScrapeStatus};
use signalbox_types::{
    Adapters, BlockHash, Capacity, EndpointKey, EndpointSpec, Gauges, Incarnation, Load, LoadedAdapters,
    MetricsTls, ModelKey, Origin, Rates, Work,
};

use crate::engine::{decode_engine, encode_engine};
use crate::error::WireError;

pub(crate) fn encode_scrape_status(scrape_status: ScrapeStatus) -> i32 {
    let scrape_status = match scrape_status {
        ScrapeStatus::Unknown => pb::ScrapeStatus::Unspecified,
        ScrapeStatus::Fresh => pb::ScrapeStatus::Fresh,
        ScrapeStatus::Stale => pb::ScrapeStatus::Stale,
        ScrapeStatus::Down => pb::ScrapeStatus::Down,
    };
    scrape_status.into()
}

pub(crate) fn decode_scrape_status(number: i32) -> Result<ScrapeStatus, WireError> {
    match pb::ScrapeStatus::try_from(number) {
        Ok(pb::ScrapeStatus::Unspecified) => Ok(ScrapeStatus::Unknown),
        Ok(pb::ScrapeStatus::Fresh) => Ok(ScrapeStatus::Fresh),
        Ok(pb::ScrapeStatus::Stale) => Ok(ScrapeStatus::Stale),
        Ok(pb::ScrapeStatus::Down) => Ok(ScrapeStatus::Down),
        Err(_) => Err(WireError::Missing("scrape_status")),
    }
}

pub(crate) fn encode_gauges(gauges: Gauges) -> pb::Gauges {
    let Gauges { waiting, running, kv_used_ppm } = gauges;
    pb::Gauges { waiting, running, kv_used_ppm }
}

pub(crate) fn decode_gauges(message: &pb::Gauges) -> Gauges {
    let pb::Gauges { waiting, running, kv_used_ppm } = *message;
    Gauges { waiting, running, kv_used_ppm }
}

pub(crate) fn encode_capacity(capacity: Capacity) -> pb::Capacity {
    let Capacity { kv_tokens } = capacity;
    pb::Capacity { kv_tokens }
}

pub(crate) fn decode_capacity(message: &pb::Capacity) -> Capacity {
    let pb::Capacity { kv_tokens } = *message;
    Capacity { kv_tokens }
}

pub(crate) fn encode_work(work: Work) -> pb::Work {
    let Work { requests, prompt_tokens, output_tokens } = work;
    pb::Work { requests, prompt_tokens, output_tokens }
}

pub(crate) fn decode_work(message: &pb::Work) -> Work {
    let pb::Work { requests, prompt_tokens, output_tokens } = *message;
    Work { requests, prompt_tokens, output_tokens }
}

fn encode_names(names: &[Arc<str>]) -> Vec<String> {
    names.iter().map(|name| name.to_string()).collect()
}

fn decode_names(names: Vec<String>) -> Vec<Arc<str>> {
    names.into_iter().map(Arc::from).collect()
}

pub(crate) fn encode_adapters(adapters: &Adapters) -> pb::Adapters {
    let Adapters { slots, running, waiting, loaded } = adapters;
    let loaded = loaded.as_ref().map(|LoadedAdapters { device, host }| pb::LoadedAdapters {
        device: encode_names(device),
        host: encode_names(host),
    });
    pb::Adapters { slots: *slots, running: encode_names(running), waiting: encode_names(waiting), loaded }
}

/// Decodes the adapters of an endpoint. The state keeps them, so they must be within their limits.
pub(crate) fn decode_adapters(message: pb::Adapters) -> Result<Adapters, WireError> {
    let pb::Adapters { slots, running, waiting, loaded } = message;
    let loaded = loaded.map(|pb::LoadedAdapters { device, host }| LoadedAdapters {
        device: decode_names(device),
        host: decode_names(host),
    });
    let adapters = Adapters { slots, running: decode_names(running), waiting: decode_names(waiting), loaded };
    if adapters.is_valid() { Ok(adapters) } else { Err(WireError::Bounds("adapters")) }
}

pub(crate) fn encode_residency(residency: &AdapterResidency) -> pb::AdapterResidency {
    let AdapterResidency { reported, device, host } = residency;
    pb::AdapterResidency {
        reported: Some(encode_adapters(reported)),
        device: encode_names(device),
        host: encode_names(host),
    }
}

pub(crate) fn decode_residency(message: pb::AdapterResidency) -> Result<AdapterResidency, WireError> {
    let pb::AdapterResidency { reported, device, host } = message;
    let reported = reported.map(decode_adapters).transpose()?.unwrap_or_default();
    let residency = AdapterResidency { reported, device: decode_names(device), host: decode_names(host) };
    if residency.is_valid() { Ok(residency) } else { Err(WireError::Bounds("adapter residency")) }
}

fn encode_circuit(circuit: Circuit) -> i32 {
    let circuit = match circuit {
        Circuit::Closed => pb::Circuit::Closed,
        Circuit::HalfOpen(_) => pb::Circuit::HalfOpen,
        Circuit::Open => pb::Circuit::Open,
    };
    circuit.into()
}

/// Returns the origin of the replica that probes; 0 if there is none.
fn encode_prober(circuit: Circuit) -> u64 {
    match circuit {
        Circuit::HalfOpen(Some(prober)) => prober.0,
        Circuit::HalfOpen(None) | Circuit::Closed | Circuit::Open => 0,
    }
}

fn decode_circuit(number: i32, prober: u64) -> Result<Circuit, WireError> {
    match pb::Circuit::try_from(number) {
        Ok(pb::Circuit::Closed) => Ok(Circuit::Closed),
        Ok(pb::Circuit::HalfOpen) => Ok(Circuit::HalfOpen((prober != 0).then_some(Origin(prober)))),
        Ok(pb::Circuit::Open) => Ok(Circuit::Open),
        Err(_) => Err(WireError::Missing("circuit")),
    }
}

pub(crate) fn encode_assessment(assessment: &Assessment) -> pb::Assessment {
    let Assessment { rates, circuit, ramp_percent, model_circuits } = assessment;
    let Rates { prefill_tokens_per_second, decode_token_us, decode_interference_us } = *rates;
    let model_circuit = |of: &ModelCircuit| pb::ModelCircuit {
        model: of.model.0,
        circuit: encode_circuit(of.circuit),
        prober: encode_prober(of.circuit),
    };
    pb::Assessment {
        prefill_tokens_per_second,
        decode_token_us,
        decode_interference_us,
        circuit: encode_circuit(*circuit),
        prober: encode_prober(*circuit),
        ramp_percent: (*ramp_percent).into(),
        model_circuits: model_circuits.iter().map(model_circuit).collect(),
    }
}

pub(crate) fn decode_assessment(message: Option<pb::Assessment>) -> Result<Assessment, WireError> {
    let pb::Assessment {
        prefill_tokens_per_second,
        decode_token_us,
        decode_interference_us,
        circuit,
        prober,
        ramp_percent,
        model_circuits,
    } = message.ok_or(WireError::Missing("assessment"))?;
    Ok(Assessment {
        rates: Rates { prefill_tokens_per_second, decode_token_us, decode_interference_us },
        circuit: decode_circuit(circuit, prober)?,
        ramp_percent: ramp_percent.try_into().map_err(|_| WireError::Bounds("a ramp"))?,
        model_circuits: decode_model_circuits(&model_circuits)?,
    })
}

/// Decodes the circuits of models. They are looked up by binary search, and only those that are not closed are
/// sent.
fn decode_model_circuits(messages: &[pb::ModelCircuit]) -> Result<Arc<[ModelCircuit]>, WireError> {
    let is_sorted = messages.is_sorted_by(|before, after| before.model < after.model);
    if messages.len() > Assessment::MAX_MODEL_CIRCUITS || !is_sorted {
        return Err(WireError::Bounds("model circuits"));
    }
    let model_circuit = |of: &pb::ModelCircuit| match decode_circuit(of.circuit, of.prober)? {
        Circuit::Closed => Err(WireError::Bounds("model circuits")),
        circuit => Ok(ModelCircuit { model: ModelKey(of.model), circuit }),
    };
    messages.iter().map(model_circuit).collect()
}

pub(crate) fn encode_load(load: Load) -> pb::Load {
    let Load { requests, prefills, prefill_tokens } = load;
    pb::Load { requests, prefills, prefill_tokens }
}

pub(crate) fn decode_load(message: Option<pb::Load>) -> Result<Load, WireError> {
    let pb::Load { requests, prefills, prefill_tokens } = message.ok_or(WireError::Missing("load"))?;
    Ok(Load { requests, prefills, prefill_tokens })
}

pub(crate) fn encode_metrics_tls(metrics_tls: MetricsTls) -> i32 {
    let metrics_tls = match metrics_tls {
        MetricsTls::Verified => pb::MetricsTls::Unspecified,
        MetricsTls::Unverified => pb::MetricsTls::Unverified,
    };
    metrics_tls.into()
}

pub(crate) fn decode_metrics_tls(number: i32) -> Result<MetricsTls, WireError> {
    match pb::MetricsTls::try_from(number) {
        Ok(pb::MetricsTls::Unspecified) => Ok(MetricsTls::Verified),
        Ok(pb::MetricsTls::Unverified) => Ok(MetricsTls::Unverified),
        Err(_) => Err(WireError::Missing("metrics_tls")),
    }
}

pub(crate) fn encode_spec(spec: &EndpointSpec) -> pb::EndpointSpec {
    let EndpointSpec { name, address, metrics_url, engine, labels, is_draining, metrics_tls } = spec;
    let (engine, custom_engine) = encode_engine(engine);
    pb::EndpointSpec {
        name: name.clone(),
        address: address.to_string(),
        engine,
        labels: labels.clone().into_iter().collect(),
        metrics_url: metrics_url.clone(),
        is_draining: *is_draining,
        metrics_tls: encode_metrics_tls(*metrics_tls),
        custom_engine,
    }
}

pub(crate) fn decode_spec(message: Option<pb::EndpointSpec>) -> Result<Arc<EndpointSpec>, WireError> {
    let message = message.ok_or(WireError::Missing("spec"))?;
    let pb::EndpointSpec {
        name,
        address,
        engine,
        labels,
        metrics_url,
        is_draining,
        metrics_tls,
        custom_engine,
    } = message;
    let address = address.parse().map_err(|_| WireError::Address(address))?;
    Ok(Arc::new(EndpointSpec {
        name,
        address,
        metrics_url,
        engine: decode_engine(&engine, custom_engine)?,
        labels: labels.into_iter().collect(),
        is_draining,
        metrics_tls: decode_metrics_tls(metrics_tls)?,
    }))
}

pub(crate) fn encode_observed(endpoint: EndpointKey, observed: &Observed) -> pb::Observed {
    let Observed {
        incarnation,
        scrape_status,
        scrape_status_since_ms,
        gauges,
        unbooked_requests,
        capacity,
        work,
        is_asleep,
    } = observed;
    pb::Observed {
        endpoint: endpoint.0,
        incarnation: incarnation.0,
        scrape_status: encode_scrape_status(*scrape_status),
        scrape_status_since_ms: *scrape_status_since_ms,
        gauges: Some(encode_gauges(*gauges)),
        unbooked_requests: *unbooked_requests,
        capacity: capacity.map(encode_capacity),
        work: Some(encode_work(*work)),
        is_asleep: *is_asleep,
    }
}

pub(crate) fn decode_observed(message: &pb::Observed) -> Result<(EndpointKey, Observed), WireError> {
    let pb::Observed {
        endpoint,
        incarnation,
        scrape_status: status_number,
        scrape_status_since_ms,
        gauges: load,
        unbooked_requests,
        capacity: size,
        work: done,
        is_asleep,
    } = message;
    let observed = Observed {
        incarnation: Incarnation(*incarnation),
        scrape_status: decode_scrape_status(*status_number)?,
        scrape_status_since_ms: *scrape_status_since_ms,
        gauges: decode_gauges(load.as_ref().ok_or(WireError::Missing("gauges"))?),
        unbooked_requests: *unbooked_requests,
        capacity: size.as_ref().map(decode_capacity),
        work: done.as_ref().map(decode_work).unwrap_or_default(),
        is_asleep: *is_asleep,
    };
    Ok((EndpointKey(*endpoint), observed))
}

pub(crate) fn encode_digest(digest: Digest) -> pb::Digest {
    let Digest { specs, observed, loads, placements, models, usage, flows, responses, outputs, revocable } =
        digest;
    pb::Digest { specs, observed, loads, placements, models, usage, flows, responses, outputs, revocable }
}

pub(crate) fn decode_digest(message: Option<pb::Digest>) -> Result<Digest, WireError> {
    let pb::Digest {
        specs,
        observed,
        loads,
        placements,
        models,
        usage,
        flows,
        responses,
        outputs,
        revocable,
    } = message.ok_or(WireError::Missing("digest"))?;
    Ok(Digest { specs, observed, loads, placements, models, usage, flows, responses, outputs, revocable })
}

pub(crate) fn encode_blocks(blocks: &[BlockHash]) -> Vec<u64> {
    blocks.iter().map(|block| block.0).collect()
}

/// Decodes a block hash. The root is not a block.
pub(crate) fn decode_block(hash: u64) -> Result<BlockHash, WireError> {
    let block = Some(BlockHash(hash)).filter(|block| *block != BlockHash::ROOT);
    block.ok_or(WireError::Bounds("block hash"))
}

/// Decodes the blocks of a chain.
pub(crate) fn decode_blocks(hashes: Vec<u64>) -> Result<Arc<[BlockHash]>, WireError> {
    hashes.into_iter().map(decode_block).collect()
}
