//! The settings of flow control.

use std::collections::BTreeMap;

use signalbox_flow::{BandSettings, Caps, Ceilings, Detector, Fairness, FlowKey, FlowSettings, Ordering};
use signalbox_protos::signalbox::v1 as pb;

use crate::error::WireError;

pub(crate) fn encode(settings: &FlowSettings) -> pb::FlowSettings {
    let FlowSettings {
        caps,
        request_ttl_ms,
        no_endpoint_ttl_ms,
        sheddable_wait_ms,
        bands,
        default_band,
        default_negative_band,
        weights,
        detector,
        ceilings,
        revokes,
    } = settings;
    let band = |(priority, band): (&i32, &BandSettings)| pb::FlowBand {
        priority: *priority,
        settings: Some(encode_band(band)),
    };
    pb::FlowSettings {
        caps: Some(encode_caps(*caps)),
        request_ttl_ms: *request_ttl_ms,
        no_endpoint_ttl_ms: *no_endpoint_ttl_ms,
        sheddable_wait_ms: *sheddable_wait_ms,
        bands: bands.iter().map(band).collect(),
        default_band: Some(encode_band(default_band)),
        default_negative_band: Some(encode_band(default_negative_band)),
        weights: weights.iter().map(|(id, weight)| (id.clone(), *weight)).collect(),
        detector: Some(encode_detector(*detector)),
        ceilings: Some(encode_ceilings(*ceilings)),
        revokes: *revokes,
    }
}

/// Decodes settings.
pub(crate) fn decode(message: pb::FlowSettings) -> Result<FlowSettings, WireError> {
    let pb::FlowSettings {
        caps,
        request_ttl_ms,
        no_endpoint_ttl_ms,
        sheddable_wait_ms,
        bands,
        default_band,
        default_negative_band,
        weights,
        detector,
        ceilings,
        revokes,
    } = message;
    let is_long = |id: &String| id.len() > FlowKey::MAX_ID_BYTES;
    if bands.len() > FlowSettings::MAX_BANDS
        || weights.len() > FlowSettings::MAX_WEIGHTS
        || weights.keys().any(is_long)
    {
        return Err(WireError::Bounds("the number of bands or weights in flow settings"));
    }
    let band = |band: pb::FlowBand| Ok((band.priority, decode_band(band.settings)?));
    Ok(FlowSettings {
        caps: decode_caps(caps)?,
        request_ttl_ms,
        no_endpoint_ttl_ms,
        sheddable_wait_ms,
        bands: bands.into_iter().map(band).collect::<Result<BTreeMap<_, _>, WireError>>()?,
        default_band: decode_band(default_band)?,
        default_negative_band: decode_band(default_negative_band)?,
        weights: weights.into_iter().collect(),
        detector: decode_detector(detector)?,
        ceilings: decode_ceilings(ceilings)?,
        revokes,
    })
}

fn encode_caps(caps: Caps) -> pb::FlowCaps {
    let Caps { requests, bytes, tokens } = caps;
    pb::FlowCaps { requests, bytes, tokens }
}

fn decode_caps(message: Option<pb::FlowCaps>) -> Result<Caps, WireError> {
    let pb::FlowCaps { requests, bytes, tokens } = message.ok_or(WireError::Missing("flow caps"))?;
    Ok(Caps { requests, bytes, tokens })
}

fn encode_band(band: &BandSettings) -> pb::FlowBandSettings {
    let BandSettings { caps, fairness, ordering, min_share_percent } = *band;
    let fairness = match fairness {
        Fairness::Weighted => pb::FlowFairness::Weighted,
        Fairness::Strict => pb::FlowFairness::Strict,
        Fairness::RoundRobin => pb::FlowFairness::RoundRobin,
        Fairness::ProgramAware => pb::FlowFairness::ProgramAware,
    };
    let ordering = match ordering {
        Ordering::Arrival => pb::FlowOrdering::Arrival,
        Ordering::Deadline => pb::FlowOrdering::Deadline,
        Ordering::TtftGoal => pb::FlowOrdering::TtftGoal,
    };
    pb::FlowBandSettings {
        caps: Some(encode_caps(caps)),
        fairness: fairness.into(),
        ordering: ordering.into(),
        min_share_percent: min_share_percent.into(),
    }
}

fn decode_band(message: Option<pb::FlowBandSettings>) -> Result<BandSettings, WireError> {
    let pb::FlowBandSettings { caps, fairness, ordering, min_share_percent } =
        message.ok_or(WireError::Missing("settings of a band"))?;
    let fairness = match pb::FlowFairness::try_from(fairness) {
        Ok(pb::FlowFairness::Weighted) => Fairness::Weighted,
        Ok(pb::FlowFairness::Strict) => Fairness::Strict,
        Ok(pb::FlowFairness::RoundRobin) => Fairness::RoundRobin,
        Ok(pb::FlowFairness::ProgramAware) => Fairness::ProgramAware,
        Err(_) => return Err(WireError::Missing("fairness")),
    };
    let ordering = match pb::FlowOrdering::try_from(ordering) {
        Ok(pb::FlowOrdering::Arrival) => Ordering::Arrival,
        Ok(pb::FlowOrdering::Deadline) => Ordering::Deadline,
        Ok(pb::FlowOrdering::TtftGoal) => Ordering::TtftGoal,
        Err(_) => return Err(WireError::Missing("ordering")),
    };
    let min_share_percent = u8::try_from(min_share_percent).ok().filter(|percent| *percent <= 100);
    let min_share_percent = min_share_percent.ok_or(WireError::Bounds("the minimum share of a band"))?;
    Ok(BandSettings { caps: decode_caps(caps)?, fairness, ordering, min_share_percent })
}

fn encode_detector(detector: Detector) -> pb::FlowDetector {
    use pb::flow_detector::Kind;
    let kind = match detector {
        Detector::Wait { hold_ms } => Kind::WaitHoldMs(hold_ms),
        Detector::Utilization { queue_depth, kv_use } => {
            Kind::Utilization(pb::UtilizationDetector { queue_depth, kv_use })
        }
        Detector::Concurrency { requests, tokens } => {
            Kind::Concurrency(pb::ConcurrencyDetector { requests, tokens })
        }
    };
    pb::FlowDetector { kind: Some(kind) }
}

fn decode_detector(message: Option<pb::FlowDetector>) -> Result<Detector, WireError> {
    use pb::flow_detector::Kind;
    let kind = message.and_then(|message| message.kind).ok_or(WireError::Missing("detector"))?;
    Ok(match kind {
        Kind::WaitHoldMs(hold_ms) => Detector::Wait { hold_ms },
        Kind::Utilization(pb::UtilizationDetector { queue_depth, kv_use }) => {
            Detector::Utilization { queue_depth: decode_limit(queue_depth)?, kv_use: decode_limit(kv_use)? }
        }
        Kind::Concurrency(pb::ConcurrencyDetector { requests, tokens }) => Detector::Concurrency {
            requests: requests.map(decode_limit).transpose()?,
            tokens: tokens.map(decode_limit).transpose()?,
        },
    })
}

fn encode_ceilings(ceilings: Ceilings) -> pb::FlowCeilings {
    use pb::flow_ceilings::Kind;
    let holdback = |lowest, highest| pb::Holdback { lowest, highest };
    let kind = match ceilings {
        Ceilings::Static => None,
        Ceilings::HoldbackByRank { lowest, highest } => Some(Kind::ByRank(holdback(lowest, highest))),
        Ceilings::HoldbackByValue { lowest, highest } => Some(Kind::ByValue(holdback(lowest, highest))),
        Ceilings::Reflective => Some(Kind::Reflective(true)),
    };
    pb::FlowCeilings { kind }
}

fn decode_ceilings(message: Option<pb::FlowCeilings>) -> Result<Ceilings, WireError> {
    use pb::flow_ceilings::Kind;
    let holdback = |pb::Holdback { lowest, highest }: pb::Holdback| {
        Ok::<_, WireError>((decode_limit(lowest)?, decode_limit(highest)?))
    };
    Ok(match message.ok_or(WireError::Missing("ceilings"))?.kind {
        None => Ceilings::Static,
        Some(Kind::ByRank(message)) => {
            let (lowest, highest) = holdback(message)?;
            Ceilings::HoldbackByRank { lowest, highest }
        }
        Some(Kind::ByValue(message)) => {
            let (lowest, highest) = holdback(message)?;
            Ceilings::HoldbackByValue { lowest, highest }
        }
        Some(Kind::Reflective(_)) => Ceilings::Reflective,
    })
}

fn decode_limit(limit: f64) -> Result<f64, WireError> {
    let is_limit = limit.is_finite() && limit >= 0.0;
    is_limit.then_some(limit).ok_or(WireError::Bounds("a limit in flow settings"))
}
