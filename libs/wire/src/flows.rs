//! What waits while a pool is full, and what may go. Like models, each message carries it next to a change that has no
//! effect, which is all that a peer sees that does not know flow control.

use std::sync::Arc;

use signalbox_flow::{Backlog, BandShares, Credit, FlowKey, PeerBacklog, Served, Usage};
use signalbox_protos::signalbox::v1 as pb;
use signalbox_state::{DrainRate, FlowChange, FlowMeasures, FlowPart, FlowReport, OriginFlows};
use signalbox_types::Origin;

use crate::error::WireError;
use crate::flow_bounds::{MAX_AMOUNT, MAX_REQUESTS, decode_number};
use crate::flow_settings;
use crate::no_op::no_op_change;
use crate::revocable;

/// The maximum number of flows of a band that got something.
const MAX_SERVED: usize = 1 << 20;

/// The parts of a message that make up a report.
pub(crate) struct EncodedReport {
    pub(crate) flows: Vec<pb::FlowBacklog>,
    pub(crate) revocable: Vec<pb::Revocable>,
    pub(crate) flow_settings: Option<pb::FlowSettings>,
}

pub(crate) fn encode_report(report: FlowReport) -> EncodedReport {
    let FlowReport { backlogs, revocable, settings } = report;
    let backlog = |(flow, backlog): (FlowKey, Backlog)| {
        let Backlog { usage, oldest_wait_ms, released } = backlog;
        let usage = Some(encode_usage(usage));
        pb::FlowBacklog { priority: flow.priority, id: flow.id.to_string(), usage, oldest_wait_ms, released }
    };
    EncodedReport {
        flows: backlogs.into_iter().map(backlog).collect(),
        revocable: revocable.into_iter().map(revocable::encode_report).collect(),
        flow_settings: settings.as_deref().map(flow_settings::encode),
    }
}

pub(crate) fn decode_report(message: EncodedReport) -> Result<FlowReport, WireError> {
    let EncodedReport { flows, revocable, flow_settings } = message;
    check_flows(flows.len())?;
    revocable::check_classes(revocable.len())?;
    let backlog = |message: pb::FlowBacklog| {
        let pb::FlowBacklog { priority, id, usage, oldest_wait_ms, released } = message;
        let backlog =
            Backlog { usage: decode_usage(usage)?, oldest_wait_ms, released: decode_number(released)? };
        Ok((decode_flow(priority, &id)?, backlog))
    };
    Ok(FlowReport {
        backlogs: flows.into_iter().map(backlog).collect::<Result<_, WireError>>()?,
        revocable: revocable.into_iter().map(revocable::decode_report).collect::<Result<_, _>>()?,
        // Settings that this release cannot read must not cut the replica off: its bookings count in any case.
        settings: flow_settings.and_then(|settings| flow_settings::decode(settings).ok()).map(Arc::new),
    })
}

pub(crate) fn encode_change(change: &FlowChange) -> pb::Change {
    use pb::flow_change::Change as Kind;
    let kind = match change {
        FlowChange::SettingsReported { origin, settings } => {
            let settings = Some(flow_settings::encode(settings));
            Kind::SettingsReported(pb::FlowSettingsReported { origin: origin.0, settings })
        }
        FlowChange::BacklogChanged { origin, flow, backlog } => {
            let backlog = Some(encode_peer_backlog(flow, *backlog));
            Kind::BacklogChanged(pb::FlowBacklogChanged { origin: origin.0, backlog })
        }
        FlowChange::RevocableChanged { origin, class, revocable } => {
            return revocable::encode_change(*origin, *class, *revocable);
        }
        FlowChange::BandServed { priority, shares } => Kind::BandServed(encode_band(*priority, shares)),
        FlowChange::Measured(measures) => Kind::Measured(encode_measures(*measures)),
    };
    pb::Change { flow: Some(pb::FlowChange { change: Some(kind) }), ..no_op_change() }
}

pub(crate) fn decode_change(message: pb::FlowChange) -> Result<FlowChange, WireError> {
    use pb::flow_change::Change as Kind;
    Ok(match message.change.ok_or(WireError::Missing("flow change"))? {
        Kind::SettingsReported(pb::FlowSettingsReported { origin, settings }) => {
            let settings = settings.ok_or(WireError::Missing("flow settings"))?;
            let settings = Arc::new(flow_settings::decode(settings)?);
            FlowChange::SettingsReported { origin: Origin(origin), settings }
        }
        Kind::BacklogChanged(pb::FlowBacklogChanged { origin, backlog }) => {
            let (flow, backlog) = decode_peer_backlog(backlog.ok_or(WireError::Missing("backlog"))?)?;
            FlowChange::BacklogChanged { origin: Origin(origin), flow, backlog }
        }
        Kind::BandServed(message) => {
            let (priority, shares) = decode_band(message)?;
            FlowChange::BandServed { priority, shares: Arc::new(shares) }
        }
        Kind::Measured(message) => FlowChange::Measured(decode_measures(&message)),
    })
}

pub(crate) fn encode_part(part: &FlowPart) -> pb::FlowEntry {
    use pb::flow_entry::Entry as Kind;
    let kind = match part {
        FlowPart::Pool(settings, measures) => Kind::Pool(pb::FlowPool {
            settings: Some(flow_settings::encode(settings)),
            measures: Some(encode_measures(*measures)),
        }),
        FlowPart::Origin(origin, flows) => Kind::Origin(pb::OriginFlows {
            origin: origin.0,
            reported_settings: flows.reported_settings(),
            backlogs: flows.backlogs().map(|(flow, backlog)| encode_peer_backlog(flow, *backlog)).collect(),
            reports_revokes: flows.reports_revokes(),
            revocable: flows.revocable().map(|(class, of)| revocable::encode_peer(class, of)).collect(),
        }),
        FlowPart::Band(priority, shares) => Kind::Band(encode_band(*priority, shares)),
    };
    pb::FlowEntry { entry: Some(kind) }
}

pub(crate) fn decode_part(message: pb::FlowEntry) -> Result<FlowPart, WireError> {
    use pb::flow_entry::Entry as Kind;
    Ok(match message.entry.ok_or(WireError::Missing("flow entry"))? {
        Kind::Pool(pb::FlowPool { settings, measures }) => {
            let settings = flow_settings::decode(settings.ok_or(WireError::Missing("flow settings"))?)?;
            let measures = measures.as_ref().ok_or(WireError::Missing("flow measures"))?;
            FlowPart::Pool(Arc::new(settings), decode_measures(measures))
        }
        Kind::Origin(pb::OriginFlows { origin, reported_settings, backlogs, revocable, reports_revokes }) => {
            check_flows(backlogs.len())?;
            revocable::check_classes(revocable.len())?;
            let backlogs: Result<Vec<_>, _> = backlogs.into_iter().map(decode_peer_backlog).collect();
            let revocable: Result<Vec<_>, _> = revocable.into_iter().map(revocable::decode_peer).collect();
            let flows =
                OriginFlows::new(reported_settings, backlogs?).with_revocable(reports_revokes, revocable?);
            FlowPart::Origin(Origin(origin), Arc::new(flows))
        }
        Kind::Band(message) => {
            let (priority, shares) = decode_band(message)?;
            FlowPart::Band(priority, Arc::new(shares))
        }
    })
}

fn check_flows(flows: usize) -> Result<(), WireError> {
    if flows > OriginFlows::MAX_FLOWS {
        return Err(WireError::Bounds("the number of flows of a replica"));
    }
    Ok(())
}

fn decode_id(id: &str) -> Result<Arc<str>, WireError> {
    let id = Some(id).filter(|id| id.len() <= FlowKey::MAX_ID_BYTES);
    id.map(Arc::from).ok_or(WireError::Bounds("the length of a fairness id"))
}

fn decode_flow(priority: i32, id: &str) -> Result<FlowKey, WireError> {
    Ok(FlowKey { priority, id: decode_id(id)? })
}

fn encode_usage(usage: Usage) -> pb::FlowUsage {
    let Usage { requests, bytes, tokens } = usage;
    pb::FlowUsage { requests, bytes, tokens }
}

fn decode_usage(message: Option<pb::FlowUsage>) -> Result<Usage, WireError> {
    let pb::FlowUsage { requests, bytes, tokens } = message.unwrap_or_default();
    if requests > MAX_REQUESTS || bytes > MAX_AMOUNT || tokens > MAX_AMOUNT {
        return Err(WireError::Bounds("what waits of a flow"));
    }
    Ok(Usage { requests, bytes, tokens })
}

fn encode_peer_backlog(flow: &FlowKey, backlog: PeerBacklog) -> pb::PeerBacklog {
    let PeerBacklog { usage, oldest_ms, released, granted } = backlog;
    pb::PeerBacklog {
        priority: flow.priority,
        id: flow.id.to_string(),
        usage: Some(encode_usage(usage)),
        oldest_ms,
        released,
        granted,
    }
}

fn decode_peer_backlog(message: pb::PeerBacklog) -> Result<(FlowKey, PeerBacklog), WireError> {
    let pb::PeerBacklog { priority, id, usage, oldest_ms, released, granted } = message;
    let (released, granted) = (decode_number(released)?, decode_number(granted)?);
    let backlog = PeerBacklog { usage: decode_usage(usage)?, oldest_ms, released, granted };
    Ok((decode_flow(priority, &id)?, backlog))
}

fn encode_band(priority: i32, shares: &BandShares) -> pb::BandShares {
    let BandShares { virtual_time, latest, credit: Credit { hundredths }, served } = shares;
    let served = served.iter().map(|(id, served)| {
        let Served { finish, attained_milli, attained_at_ms } = *served;
        pb::FlowServed { id: id.to_string(), finish, attained_milli, attained_at_ms }
    });
    pb::BandShares {
        priority,
        virtual_time: *virtual_time,
        latest: latest.as_deref().map(str::to_owned),
        credit_hundredths: *hundredths,
        served: served.collect(),
    }
}

fn decode_band(message: pb::BandShares) -> Result<(i32, BandShares), WireError> {
    let pb::BandShares { priority, virtual_time, latest, credit_hundredths, served } = message;
    if served.len() > MAX_SERVED {
        return Err(WireError::Bounds("the number of flows of a band"));
    }
    let flow = |pb::FlowServed { id, finish, attained_milli, attained_at_ms }: pb::FlowServed| {
        Ok((decode_id(&id)?, Served { finish, attained_milli, attained_at_ms }))
    };
    let shares = BandShares {
        virtual_time,
        latest: latest.as_deref().map(decode_id).transpose()?,
        credit: Credit { hundredths: credit_hundredths },
        served: served.into_iter().map(flow).collect::<Result<_, WireError>>()?,
    };
    Ok((priority, shares))
}

fn encode_measures(measures: FlowMeasures) -> pb::FlowMeasures {
    let FlowMeasures { saturation_milli, drain_rate, assumed_speed_milli } = measures;
    let DrainRate { milli_requests_per_second, tokens_per_second } = drain_rate;
    pb::FlowMeasures { saturation_milli, milli_requests_per_second, tokens_per_second, assumed_speed_milli }
}

fn decode_measures(message: &pb::FlowMeasures) -> FlowMeasures {
    let pb::FlowMeasures {
        saturation_milli,
        milli_requests_per_second,
        tokens_per_second,
        assumed_speed_milli,
    } = *message;
    let drain_rate = DrainRate { milli_requests_per_second, tokens_per_second };
    FlowMeasures { saturation_milli, drain_rate, assumed_speed_milli }
}
