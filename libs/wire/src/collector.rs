//! Messages between a collector and the pool's owner.

use std::sync::Arc;

use signalbox_protos::signalbox::v1 as pb;
use signalbox_state::{AssignedEndpoint, DecodeObservation, Report, Update};
use signalbox_types::{EndpointKey, Generation, Incarnation};

use crate::engine::{decode_engine, encode_engine};
use crate::error::WireError;
use crate::hello::Hello;
use crate::shared;

/// Encodes reports; without reports the message shows that the collector is alive. The first message of a
/// stream carries `hello`.
pub fn encode_reports(
    hello: Option<&Hello>,
    epoch: u64,
    collector: &str,
    reports: Vec<Report>,
) -> pb::CollectorMessage {
    let reports = reports.into_iter().map(encode_report).collect();
    let hello = hello.map(Hello::message);
    pb::CollectorMessage { epoch, collector: collector.to_owned(), reports, hello }
}

/// Decodes the reports in a collector's message.
///
/// # Errors
/// [`WireError`] when a report is invalid in this version.
pub fn decode_reports(message: pb::CollectorMessage) -> Result<Vec<Report>, WireError> {
    message.reports.into_iter().map(decode_report).collect()
}

/// Encodes all endpoints that a collector must scrape.
pub fn encode_assignment(epoch: u64, endpoints: Vec<AssignedEndpoint>) -> pb::CollectorAssignment {
    pb::CollectorAssignment { epoch, endpoints: endpoints.into_iter().map(encode_assigned).collect() }
}

/// Decodes the endpoints of an assignment.
///
/// # Errors
/// [`WireError`] when this version does not know an engine or how to verify a metrics page.
pub fn decode_assignment(assignment: pb::CollectorAssignment) -> Result<Vec<AssignedEndpoint>, WireError> {
    let decode = |message: pb::AssignedEndpoint| {
        let pb::AssignedEndpoint {
            endpoint,
            generation,
            name,
            metrics_url,
            engine,
            metrics_tls,
            custom_engine,
        } = message;
        let (endpoint, generation) = (EndpointKey(endpoint), Generation(generation));
        let (engine, metrics_tls) =
            (decode_engine(&engine, custom_engine)?, shared::decode_metrics_tls(metrics_tls)?);
        Ok(AssignedEndpoint { endpoint, generation, name, metrics_url, engine, metrics_tls })
    };
    assignment.endpoints.into_iter().map(decode).collect()
}

fn encode_assigned(assigned: AssignedEndpoint) -> pb::AssignedEndpoint {
    let AssignedEndpoint { endpoint, generation, name, metrics_url, engine, metrics_tls } = assigned;
    let (engine, custom_engine) = encode_engine(&engine);
    pb::AssignedEndpoint {
        endpoint: endpoint.0,
        generation: generation.0,
        name,
        metrics_url,
        engine,
        metrics_tls: shared::encode_metrics_tls(metrics_tls),
        custom_engine,
    }
}

fn encode_report(report: Report) -> pb::Report {
    let Report { endpoint, generation, age_ms, update } = report;
    let Update { incarnation, scrape_status, gauges, capacity, adapters, decode, work, is_asleep } = update;
    pb::Report {
        endpoint: endpoint.0,
        generation: generation.0,
        incarnation: incarnation.0,
        age_ms,
        scrape_status: shared::encode_scrape_status(scrape_status),
        gauges: gauges.map(shared::encode_gauges),
        capacity: capacity.map(shared::encode_capacity),
        adapters: adapters.as_deref().map(shared::encode_adapters),
        decode: decode.map(|DecodeObservation { inter_token_us, running_milli }| pb::DecodeObservation {
            inter_token_us,
            running_milli,
        }),
        work: work.map(shared::encode_work),
        is_asleep,
    }
}

fn decode_report(message: pb::Report) -> Result<Report, WireError> {
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
        work,
        is_asleep,
    } = message;
    let update = Update {
        incarnation: Incarnation(incarnation),
        scrape_status: shared::decode_scrape_status(scrape_status)?,
        gauges: gauges.as_ref().map(shared::decode_gauges),
        capacity: capacity.as_ref().map(shared::decode_capacity),
        adapters: adapters.map(shared::decode_adapters).transpose()?.map(Arc::new),
        decode: decode.map(|pb::DecodeObservation { inter_token_us, running_milli }| DecodeObservation {
            inter_token_us,
            running_milli,
        }),
        work: work.as_ref().map(shared::decode_work),
        is_asleep,
    };
    Ok(Report { endpoint: EndpointKey(endpoint), generation: Generation(generation), age_ms, update })
}
