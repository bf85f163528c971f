//! What the file's fields are and mean.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use signalbox_document::{Fields, Located, Node, Problems, quoted};
use signalbox_types::{EndpointKey, EndpointSpec, Engine, PoolId};

use super::scalar;
use super::unique::{Claim, report_repeated, report_same_key};

const API_VERSION: &str = "signalbox/v1";
pub(super) const KIND: &str = "Endpoints";
const DEFAULT_NAMESPACE: &str = "default";

/// What to write for an address.
const ADDRESS_FORM: &str = "IP:PORT, e.g. 127.0.0.1:8000";

/// The pool in the document `root`, and its endpoints; each if it can be read.
pub(super) fn pool(root: &Node, problems: &mut Problems) -> (Option<PoolId>, Option<Vec<EndpointSpec>>) {
    let fields = Located::root(root).fields(&["apiVersion", "kind", "pool", "endpoints"], problems);
    let Some(fields) = fields else { return (None, None) };
    constant(&fields, "apiVersion", API_VERSION, problems);
    constant(&fields, "kind", KIND, problems);
    let id = pool_id(&fields, problems);
    (id, endpoints(&fields, problems))
}

/// A field that has one value in this version.
fn constant(fields: &Fields<'_>, name: &str, value: &str, problems: &mut Problems) {
    let Some(at) = fields.required(name, value, problems) else { return };
    match at.written(value, problems) {
        Some(written) if written != value => {
            at.report(problems, format!("{} is not known; write {name}: {value}", quoted(written)));
        }
        _ => {}
    }
}

fn pool_id(fields: &Fields<'_>, problems: &mut Problems) -> Option<PoolId> {
    let pool =
        fields.required("pool", "{ name: NAME }", problems)?.fields(&["name", "namespace"], problems)?;
    let name = pool.required("name", "NAME", problems).and_then(|at| name(&at, problems));
    let namespace = match pool.optional("namespace") {
        Some(at) => self::name(&at, problems),
        None => Some(DEFAULT_NAMESPACE.to_owned()),
    };
    Some(PoolId { namespace: namespace?, name: name? })
}

fn endpoints(fields: &Fields<'_>, problems: &mut Problems) -> Option<Vec<EndpointSpec>> {
    let items = fields.required("endpoints", "[] or a list", problems)?.items(problems)?;
    let mut claims = Claims::default();
    // Each item is read before any is given up, so that all problems are found.
    let specs: Vec<_> =
        items.into_iter().enumerate().map(|(at, item)| endpoint(at, item, &mut claims, problems)).collect();
    report_repeated("name", &claims.names, problems);
    report_same_key(&claims.names, EndpointKey::of, problems);
    report_repeated("address", &claims.addresses, problems);
    specs.into_iter().collect()
}

/// What must be unique, of all endpoints, whether or not the rest of them is good.
#[derive(Default)]
struct Claims {
    names: Vec<Claim<String>>,
    addresses: Vec<Claim<SocketAddr>>,
}

fn endpoint(
    index: usize,
    item: Located<'_>,
    claims: &mut Claims,
    problems: &mut Problems,
) -> Option<EndpointSpec> {
    let fields = item.fields(&["name", "address", "engine", "metricsUrl", "labels"], problems)?;
    let name = fields.required("name", "NAME", problems).and_then(|at| {
        let value = name(&at, problems)?;
        claims.names.push(Claim { index, line: at.node.line, value: value.clone() });
        Some(value)
    });
    let address = fields.required("address", ADDRESS_FORM, problems).and_then(|at| {
        let value = valid(&at, at.written(ADDRESS_FORM, problems)?, scalar::address, problems)?;
        claims.addresses.push(Claim { index, line: at.node.line, value });
        Some(value)
    });
    let engine = fields.optional("engine").map(|at| engine(&at, problems));
    let metrics_url = fields.optional("metricsUrl").map(|at| metrics_url(&at, problems));
    let labels = fields.optional("labels").map(|at| labels(&at, problems));
    let address = address?;
    Some(EndpointSpec {
        name: name?,
        address,
        metrics_url: metrics_url.unwrap_or_else(|| Some(format!("http://{address}/metrics")))?,
        engine: engine.unwrap_or_else(|| Some(Engine::default()))?,
        labels: labels.unwrap_or_else(|| Some(BTreeMap::new()))?,
    })
}

/// `text`, which is written at `at`, in the form that `read` gives it, or a problem.
pub(super) fn valid<T>(
    at: &Located<'_>,
    text: &str,
    read: impl FnOnce(&str) -> Result<T, String>,
    problems: &mut Problems,
) -> Option<T> {
    read(text).map_err(|message| at.report(problems, message)).ok()
}

fn name(at: &Located<'_>, problems: &mut Problems) -> Option<String> {
    valid(at, at.text(problems)?, scalar::name, problems)
}

fn engine(at: &Located<'_>, problems: &mut Problems) -> Option<Engine> {
    let known = Engine::ALL.map(Engine::name).join(" or ");
    valid(at, at.written(&known, problems)?, scalar::engine, problems)
}

fn metrics_url(at: &Located<'_>, problems: &mut Problems) -> Option<String> {
    valid(at, at.written("http://HOST:PORT/PATH", problems)?, scalar::metrics_url, problems)
}

fn labels(at: &Located<'_>, problems: &mut Problems) -> Option<BTreeMap<String, String>> {
    let mut labels = BTreeMap::new();
    for (key, value) in at.members(problems)? {
        if key.is_empty() {
            value.report(problems, "a label has no name; give it one");
        }
        if let Some(text) = value.text(problems) {
            labels.insert(key.to_owned(), text.to_owned());
        }
    }
    Some(labels)
}
