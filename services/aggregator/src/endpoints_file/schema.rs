//! Reads the file's first document: the pool and its endpoints.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use signalbox_document::{Fields, Located, Node, Problems, quoted};
use signalbox_objects::read_name;
use signalbox_types::{EndpointKey, EndpointSpec, Engine, MetricsTls, PoolId};

use super::duplicates::{UniqueValue, report_repeated, report_same_key};
use super::scalar;

const API_VERSION: &str = "signalbox/v1";
pub(super) const KIND: &str = "Endpoints";
const DEFAULT_NAMESPACE: &str = "default";

/// How to write an address, for error messages.
const ADDRESS_FORM: &str = "IP:PORT, e.g. 127.0.0.1:8000";

/// The fields of an endpoint.
const ENDPOINT_FIELDS: [&str; 7] =
    ["name", "address", "engine", "metricsUrl", "metricsInsecureSkipVerify", "labels", "draining"];

/// Reads the pool, its port and its endpoints from the document `root`. Returns `None` for what is invalid.
pub(super) fn pool(
    root: &Node,
    problems: &mut Problems,
) -> (Option<PoolId>, Option<u16>, Option<Vec<EndpointSpec>>) {
    let fields = Located::root(root).fields(&["apiVersion", "kind", "pool", "endpoints"], problems);
    let Some(fields) = fields else { return (None, None, None) };
    check_constant(&fields, "apiVersion", API_VERSION, problems);
    check_constant(&fields, "kind", KIND, problems);
    let (id, port) = pool_id_and_port(&fields, problems).unzip();
    (id, port.flatten(), endpoints(&fields, problems))
}

/// Checks a field that has only one valid value.
fn check_constant(fields: &Fields<'_>, name: &str, value: &str, problems: &mut Problems) {
    let Some(at) = fields.required(name, value, problems) else { return };
    match at.raw_text(value, problems) {
        Some(written) if written != value => {
            at.report(problems, format!("{} is not supported; write {name}: {value}", quoted(written)));
        }
        _ => {}
    }
}

fn pool_id_and_port(fields: &Fields<'_>, problems: &mut Problems) -> Option<(PoolId, Option<u16>)> {
    let pool = fields.required("pool", "{ name: NAME }", problems)?;
    let pool = pool.fields(&["name", "namespace", "port"], problems)?;
    let name = pool.required("name", "NAME", problems).and_then(|at| read_name(&at, problems));
    let namespace = match pool.optional("namespace") {
        Some(at) => read_name(&at, problems),
        None => Some(DEFAULT_NAMESPACE.to_owned()),
    };
    let port = pool.optional("port").map(|at| at.integer(1..=i64::from(u16::MAX), problems));
    let port = port.flatten().and_then(|port| u16::try_from(port).ok());
    Some((PoolId { namespace: namespace?, name: name? }, port))
}

fn endpoints(fields: &Fields<'_>, problems: &mut Problems) -> Option<Vec<EndpointSpec>> {
    let items = fields.required("endpoints", "[] or a list of endpoints", problems)?.items(problems)?;
    let mut unique = UniqueValues::default();
    // All items are read even if one is invalid, so that all problems are reported.
    let specs: Vec<_> =
        items.into_iter().enumerate().map(|(at, item)| endpoint(at, item, &mut unique, problems)).collect();
    report_repeated("name", &unique.names, problems);
    report_same_key(&unique.names, EndpointKey::of, problems);
    report_repeated("address", &unique.addresses, problems);
    specs.into_iter().collect()
}

/// The values that must be unique, also those of endpoints that are invalid otherwise.
#[derive(Default)]
struct UniqueValues {
    names: Vec<UniqueValue<String>>,
    addresses: Vec<UniqueValue<SocketAddr>>,
}

fn endpoint(
    index: usize,
    item: Located<'_>,
    unique: &mut UniqueValues,
    problems: &mut Problems,
) -> Option<EndpointSpec> {
    let fields = item.fields(&ENDPOINT_FIELDS, problems)?;
    let name = fields.required("name", "NAME", problems).and_then(|at| {
        let value = read_name(&at, problems)?;
        unique.names.push(UniqueValue { index, line: at.node.line, value: value.clone() });
        Some(value)
    });
    let address = fields.required("address", ADDRESS_FORM, problems).and_then(|at| {
        let value = at.parse(at.raw_text(ADDRESS_FORM, problems)?, scalar::address, problems)?;
        unique.addresses.push(UniqueValue { index, line: at.node.line, value });
        Some(value)
    });
    let engine = fields.optional("engine").map(|at| engine(&at, problems));
    let metrics_url = fields.optional("metricsUrl").map(|at| metrics_url(&at, problems));
    let labels = fields.optional("labels").map(|at| labels(&at, problems));
    let skips_verification = boolean(&fields, "metricsInsecureSkipVerify", problems);
    let is_draining = boolean(&fields, "draining", problems);
    let address = address?;
    Some(EndpointSpec {
        name: name?,
        address,
        metrics_url: metrics_url.unwrap_or_else(|| Some(format!("http://{address}/metrics")))?,
        engine: engine.unwrap_or_else(|| Some(Engine::default()))?,
        labels: labels.unwrap_or_else(|| Some(BTreeMap::new()))?,
        is_draining: is_draining?,
        metrics_tls: if skips_verification? { MetricsTls::Unverified } else { MetricsTls::Verified },
    })
}

/// Reads a field that is `false` if it is absent.
fn boolean(fields: &Fields<'_>, name: &str, problems: &mut Problems) -> Option<bool> {
    fields.optional(name).map_or(Some(false), |at| at.boolean(problems))
}

fn engine(at: &Located<'_>, problems: &mut Problems) -> Option<Engine> {
    let known = Engine::ALL.map(Engine::name).join(" or ");
    at.parse(at.raw_text(&known, problems)?, scalar::engine, problems)
}

fn metrics_url(at: &Located<'_>, problems: &mut Problems) -> Option<String> {
    at.parse(at.raw_text("http://HOST:PORT/PATH", problems)?, scalar::metrics_url, problems)
}

fn labels(at: &Located<'_>, problems: &mut Problems) -> Option<BTreeMap<String, String>> {
    let mut labels = BTreeMap::new();
    for (key, value) in at.members(problems)? {
        if key.is_empty() {
            value.report(problems, "label names must not be empty; give this label a name");
        }
        if let Some(text) = value.text(problems) {
            labels.insert(key.to_owned(), text.to_owned());
        }
    }
    Some(labels)
}
