//! Between a collector and the pool's owner.

use std::sync::Arc;

use signalbox_protos::signalbox::v1 as pb;
use signalbox_state::{AssignedEndpoint, DecodeObservation, Report, Update};
use signalbox_types::{EndpointKey, Generation, Incarnation};

use crate::error::WireError;
use crate::hello::Hello;
use crate::parts;

/// What a collector sends; without reports it is a sign of life. `hello` with the first message of a stream.
pub fn collector_message(
    hello: Option<&Hello>,
    epoch: u64,
    collector: &str,
    reports: Vec<Report>,
) -> pb::CollectorMessage {
    let reports = reports.into_iter().map(report_message).collect();
    let hello = hello.map(Hello::message);
    pb::CollectorMessage { epoch, collector: collector.to_owned(), reports, hello }
}

/// The reports in a collector's message.
///
/// # Errors
/// [`WireError`] when a report is not of this version.
pub fn reports(message: pb::CollectorMessage) -> Result<Vec<Report>, WireError> {
    message.reports.into_iter().map(report).collect()
}

/// All that a collector shall read.
pub fn directive(epoch: u64, endpoints: Vec<AssignedEndpoint>) -> pb::CollectorDirective {
    pb::CollectorDirective { epoch, endpoints: endpoints.into_iter().map(assigned_message).collect() }
}

/// The endpoints in a directive.
///
/// # Errors
/// [`WireError`] when an engine is not known here.
pub fn assigned(directive: pb::CollectorDirective) -> Result<Vec<AssignedEndpoint>, WireError> {
    let one = |message: pb::AssignedEndpoint| {
        let pb::AssignedEndpoint { endpoint, generation, name, metrics_url, engine } = message;
        let (endpoint, generation) = (EndpointKey(endpoint), Generation(generation));
        Ok(AssignedEndpoint { endpoint, generation, name, metrics_url, engine: engine.parse()? })
    };
    directive.endpoints.into_iter().map(one).collect()
}

fn assigned_message(assigned: AssignedEndpoint) -> pb::AssignedEndpoint {
    let AssignedEndpoint { endpoint, generation, name, metrics_url, engine } = assigned;
    let engine = engine.name().to_owned();
    pb::AssignedEndpoint { endpoint: endpoint.0, generation: generation.0, name, metrics_url, engine }
}

fn report_message(report: Report) -> pb::Report {
    let Report { endpoint, generation, age_ms, update } = report;
    let Update { incarnation, scrape_status, gauges, capacity, adapters, decode } = update;
    pb::Report {
        endpoint: endpoint.0,
        generation: generation.0,
        incarnation: incarnation.0,
        age_ms,
        scrape_status: parts::reach_message(scrape_status),
        gauges: gauges.map(parts::gauges_message),
        capacity: capacity.map(parts::capacity_message),
        adapters: adapters.as_deref().map(parts::adapters_message),
        decode: decode.map(|DecodeObservation { inter_token_us, running_milli }| pb::DecodeObservation {
            inter_token_us,
            running_milli,
        }),
    }
}

fn report(message: pb::Report) -> Result<Report, WireError> {
    let pb::Report {
        endpoint,
        generation,
        incarnation,
        age_ms,
        scrape_status,
        gauges,
        capacity,
        adapters,
        decode,
    } = message;
    let update = Update {
        incarnation: Incarnation(incarnation),
        scrape_status: parts::scrape_status(scrape_status)?,
        gauges: gauges.as_ref().map(parts::gauges),
        capacity: capacity.as_ref().map(parts::capacity),
        adapters: adapters.map(parts::adapters).map(Arc::new),
        decode: decode.map(|pb::DecodeObservation { inter_token_us, running_milli }| DecodeObservation {
            inter_token_us,
            running_milli,
        }),
    };
    Ok(Report { endpoint: EndpointKey(endpoint), generation: Generation(generation), age_ms, update })
}
