//! Reads the file's first document: the pool and its endpoints.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use signalbox_document::{Fields, Located, Node, Problems, quoted};
use signalbox_objects::{read_custom_engines, read_name};
use signalbox_types::{EndpointKey, EndpointSpec, Engine, MetricsTls, PageSettings, PoolId, url_host};

use super::NamedEndpoint;
use super::duplicates::{UniqueValue, report_repeated, report_same_key};
use super::scalar::{self, Address};

const API_VERSION: &str = "signalbox/v1";
pub(super) const KIND: &str = "Endpoints";
const DEFAULT_NAMESPACE: &str = "default";

/// How to write an address, for error messages.
const ADDRESS_FORM: &str = "IP:PORT or HOST:PORT, e.g. 127.0.0.1:8000";

/// The fields of an endpoint.
const ENDPOINT_FIELDS: [&str; 7] =
    ["name", "address", "engine", "metricsUrl", "metricsInsecureSkipVerify", "labels", "draining"];

/// The endpoints of the file.
#[derive(Default)]
pub(super) struct Endpoints {
    /// Those with an IP address.
    pub(super) fixed: Vec<EndpointSpec>,
    /// Those with a host name.
    pub(super) named: Vec<NamedEndpoint>,
}

/// An endpoint of the file.
enum Endpoint {
    Fixed(EndpointSpec),
    Named(NamedEndpoint),
}

/// Reads the pool, its port and its endpoints from the document `root`. Returns `None` for what is invalid.
/// `defaults` apply to what endpoints do not say of their metrics pages.
pub(super) fn pool(
    root: &Node,
    defaults: &PageSettings,
    problems: &mut Problems,
) -> (Option<PoolId>, Option<u16>, Option<Endpoints>) {
    let fields =
        Located::root(root).fields(&["apiVersion", "kind", "pool", "engines", "endpoints"], problems);
    let Some(fields) = fields else { return (None, None, None) };
    check_constant(&fields, "apiVersion", API_VERSION, problems);
    check_constant(&fields, "kind", KIND, problems);
    let (id, port) = pool_id_and_port(&fields, problems).unzip();
    (id, port.flatten(), endpoints(&fields, defaults, problems))
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

fn endpoints(fields: &Fields<'_>, defaults: &PageSettings, problems: &mut Problems) -> Option<Endpoints> {
    let engines = fields.non_null("engines").map(|at| read_custom_engines(&at, &[], problems));
    // Those of the file come first, so they count.
    let engines = [engines.unwrap_or_default(), defaults.engines.clone()].concat();
    let defaults = PageSettings { engines, ..defaults.clone() };
    let items = fields.required("endpoints", "[] or a list of endpoints", problems)?.items(problems)?;
    let mut unique = UniqueValues::default();
    // All items are read even if one is invalid, so that all problems are reported.
    let specs: Vec<_> = items
        .into_iter()
        .enumerate()
        .map(|(at, item)| endpoint(at, item, &defaults, &mut unique, problems))
        .collect();
    report_repeated("name", &unique.names, problems);
    report_same_key(&unique.names, EndpointKey::of, problems);
    report_repeated("address", &unique.addresses, problems);
    let mut endpoints = Endpoints::default();
    for endpoint in specs {
        match endpoint? {
            Endpoint::Fixed(spec) => endpoints.fixed.push(spec),
            Endpoint::Named(named) => endpoints.named.push(named),
        }
    }
    Some(endpoints)
}

/// The values that must be unique, also those of endpoints that are invalid otherwise.
#[derive(Default)]
struct UniqueValues {
    names: Vec<UniqueValue<String>>,
    addresses: Vec<UniqueValue<String>>,
}

fn endpoint(
    index: usize,
    item: Located<'_>,
    defaults: &PageSettings,
    unique: &mut UniqueValues,
    problems: &mut Problems,
) -> Option<Endpoint> {
    let fields = item.fields(&ENDPOINT_FIELDS, problems)?;
    let name = fields.required("name", "NAME", problems).and_then(|at| {
        let value = read_name(&at, problems)?;
        unique.names.push(UniqueValue { index, line: at.node.line, value: value.clone() });
        Some(value)
    });
    let address = fields.required("address", ADDRESS_FORM, problems).and_then(|at| {
        let value = at.parse(at.raw_text(ADDRESS_FORM, problems)?, scalar::address, problems)?;
        unique.addresses.push(UniqueValue { index, line: at.node.line, value: value.to_string() });
        Some(value)
    });
    let engine = fields.optional("engine").map(|at| engine(&at, defaults, problems));
    let metrics_url = fields.optional("metricsUrl").map(|at| metrics_url(&at, problems));
    let labels = fields.optional("labels").map(|at| labels(&at, problems));
    let skips_verification = fields.optional("metricsInsecureSkipVerify").map(|at| at.boolean(problems));
    let is_draining = fields.optional("draining").map_or(Some(false), |at| at.boolean(problems));
    let (address, engine) = (address?, engine.unwrap_or_else(|| Some(defaults.default_engine.clone()))?);
    let (host, address) = match address {
        Address::Ip(address) => (None, address),
        Address::Host(host, port) => (Some(host), SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port)),
    };
    let url_host = host.clone().unwrap_or_else(|| url_host(address.ip()));
    let spec = EndpointSpec {
        name: name?,
        address,
        metrics_url: metrics_url
            .unwrap_or_else(|| Some(defaults.metrics_url(&engine, &url_host, address.port())))?,
        engine,
        labels: labels.unwrap_or_else(|| Some(BTreeMap::new()))?,
        is_draining: is_draining?,
        metrics_tls: skips_verification
            .map_or(Some(defaults.tls), |skips| skips.map(MetricsTls::unless_skipped))?,
    };
    Some(match host {
        None => Endpoint::Fixed(spec),
        Some(host) => Endpoint::Named(NamedEndpoint { host, spec }),
    })
}

fn engine(at: &Located<'_>, settings: &PageSettings, problems: &mut Problems) -> Option<Engine> {
    let known = Engine::NAMES.join(" or ");
    at.parse(at.raw_text(&known, problems)?, |name| scalar::engine(name, settings), problems)
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
