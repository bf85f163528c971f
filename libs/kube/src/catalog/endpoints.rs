//! The endpoints of a pool.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};

use signalbox_document::quoted;
use signalbox_types::{EndpointSpec, Engine, MetricsTls, PageSettings, url_host};

use super::rejection::{Reason, Rejection};
use super::selected_pools::SelectedPool;
use crate::objects::{Pod, Setting};

/// Labels with the engine. The first that a pod has counts.
const ENGINE_LABELS: [&str; 2] = ["llm-d.ai/engine-type", "inference.networking.k8s.io/engine-type"];

/// Label with the role of a pod, and its predecessor.
const ROLE_LABEL: &str = "llm-d.ai/role";
const OLD_ROLE_LABEL: &str = "inference.networking.k8s.io/role";

/// Returns the endpoints of `pool`, whose metrics pages are as `pages` say unless a pod says otherwise, and of which `pods` are those in its namespace: one per pod and target port.
pub(super) fn endpoints<'a>(
    pool: &SelectedPool,
    pods: impl Iterator<Item = &'a Pod>,
    pages: &'a PageSettings,
) -> (Vec<EndpointSpec>, BTreeSet<Rejection>) {
    let mut rejected = BTreeSet::new();
    let mut found = Found::default();
    for pod in pods.filter(|pod| pool.selects(pod)) {
        // A pod that is being deleted can still have running requests, even if it is no longer ready.
        let is_endpoint = if pod.is_being_deleted { pod.is_running } else { pod.is_ready };
        if let Some(ip) = pod.ip.filter(|_| is_endpoint) {
            add_pod(pool, (pod, ip), pages, &mut found, &mut rejected);
        }
    }
    let endpoints = found.endpoints.into_iter().filter_map(|(_, endpoint)| endpoint).collect();
    (endpoints, rejected)
}

/// The endpoints so far. One that lost its address to another is `None`.
#[derive(Default)]
struct Found<'a> {
    endpoints: Vec<(&'a Pod, Option<EndpointSpec>)>,
    by_address: HashMap<SocketAddr, usize>,
}

fn add_pod<'a>(
    pool: &SelectedPool,
    (pod, ip): (&'a Pod, IpAddr),
    pages: &'a PageSettings,
    found: &mut Found<'a>,
    rejected: &mut BTreeSet<Rejection>,
) {
    let mut settings = Settings { pod, pages, rejected };
    let engine = settings.engine();
    let active_ports = settings.active_ports();
    let metrics = settings.metrics();
    let mut labels = labels(pod);
    if let Some(cost) = settings.cost() {
        labels.insert(EndpointSpec::COST_LABEL.to_owned(), cost.to_owned());
    }
    for (rank, port) in pool.target_ports.iter().enumerate() {
        if active_ports.as_ref().is_some_and(|active| !active.contains(port)) {
            continue;
        }
        let endpoint = EndpointSpec {
            name: format!("{}-rank-{rank}", pod.reference.key.name),
            address: SocketAddr::new(ip, *port),
            metrics_url: metrics.metrics_url(&engine, &url_host(ip), *port),
            engine: engine.clone(),
            labels: labels.clone(),
            is_draining: pod.is_being_deleted,
            metrics_tls: metrics.tls,
        };
        add_endpoint(pod, endpoint, found, rejected);
    }
}

/// Adds `endpoint` unless another has its address. An address passes from a pod that ends to a new one, so one
/// that drains gives way, and otherwise the older one.
fn add_endpoint<'a>(
    pod: &'a Pod,
    endpoint: EndpointSpec,
    found: &mut Found<'a>,
    rejected: &mut BTreeSet<Rejection>,
) {
    let next = found.endpoints.len();
    match found.by_address.entry(endpoint.address) {
        Entry::Vacant(vacant) => {
            vacant.insert(next);
            found.endpoints.push((pod, Some(endpoint)));
        }
        Entry::Occupied(mut occupied) => {
            let other = found.endpoints[*occupied.get()].0;
            let claim = |pod: &'a Pod| (!pod.is_being_deleted, pod.created_ms, &pod.reference.key.name);
            let (winner, loser) = if claim(pod) > claim(other) { (pod, other) } else { (other, pod) };
            if !loser.is_being_deleted {
                let (address, name) = (endpoint.address, &winner.reference.key.name);
                let message = format!("{address} is also the address of the newer pod {name}, which is used");
                rejected.insert(Rejection::new(&loser.reference, Reason::AddressTaken, message));
            }
            if std::ptr::eq(winner, pod) {
                found.endpoints[occupied.insert(next)].1 = None;
                found.endpoints.push((pod, Some(endpoint)));
            }
        }
    }
}

/// Returns the labels of the endpoints of `pod`.
fn labels(pod: &Pod) -> BTreeMap<String, String> {
    let mut labels: BTreeMap<_, _> =
        pod.labels().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    if let Some(role) = pod.label(OLD_ROLE_LABEL) {
        labels.entry(ROLE_LABEL.to_owned()).or_insert_with(|| role.to_owned());
    }
    labels
}

/// Reads the settings of a pod. A value that makes no sense is reported with what applies instead: the default, or
/// of a list of ports those that make sense.
struct Settings<'a, 'r> {
    pod: &'a Pod,
    pages: &'a PageSettings,
    rejected: &'r mut BTreeSet<Rejection>,
}

impl<'a> Settings<'a, '_> {
    fn engine(&mut self) -> Engine {
        let default = &self.pages.default_engine;
        let mut labels = self.pages.engine_label.as_deref().into_iter().chain(ENGINE_LABELS);
        let found = labels.find_map(|label| Some((label, self.pod.label(label)?)));
        let Some((label, value)) = found else { return default.clone() };
        self.pages.engine(value).unwrap_or_else(|error| {
            self.reject("label", label, &format!("{error}; using {default}"));
            default.clone()
        })
    }

    /// Returns the ports that are endpoints; `None` for all.
    fn active_ports(&mut self) -> Option<Vec<u16>> {
        let (annotation, value) = self.pod.setting(Setting::ActivePorts)?;
        let items: Vec<_> = value.split(',').map(str::trim).filter(|item| !item.is_empty()).collect();
        let ports: Vec<u16> =
            items.iter().filter_map(|item| item.parse().ok()).filter(|port| *port > 0).collect();
        if ports.len() < items.len() {
            let applied = match ports.as_slice() {
                [] => "until then the pod takes no requests".to_owned(),
                ports => {
                    let ports: Vec<_> = ports.iter().map(u16::to_string).collect();
                    format!("using {} only", ports.join(","))
                }
            };
            let message =
                format!("{} is not a list of ports; write it like 8000,8001; {applied}", quoted(value));
            self.reject("annotation", annotation, &message);
        }
        Some(ports)
    }

    /// Returns what the pod costs, as its annotation says.
    fn cost(&mut self) -> Option<&'a str> {
        let is_cost = |text: &str| EndpointSpec::parse_cost(text).is_some();
        self.read(Setting::Cost, "a positive number", |text| is_cost(text).then_some(text))
    }

    /// Returns where and how the pages of the pod are read.
    fn metrics(&mut self) -> PageSettings {
        let is_path = |path: &str| {
            path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#')
        };
        let port = |text: &'a str| text.parse().ok().filter(|port| *port > 0);
        let scheme = |text: &'a str| ["http", "https"].contains(&text).then_some(text);
        let skip = |text: &'a str| text.parse::<bool>().ok();
        let skip = self.read(Setting::MetricsSkipVerify, "true or false", skip);
        let scheme = self.read(Setting::MetricsScheme, "http or https", scheme);
        let port = self.read(Setting::MetricsPort, "a port from 1 to 65535", port);
        let path =
            self.read(Setting::MetricsPath, "a path such as /metrics", |text| is_path(text).then_some(text));
        let pages = self.pages;
        PageSettings {
            is_https: scheme.map_or(pages.is_https, |scheme| scheme == "https"),
            port: port.or(pages.port),
            path: path.map(str::to_owned).or_else(|| pages.path.clone()),
            tls: skip.map_or(pages.tls, MetricsTls::unless_skipped),
            ..PageSettings::default()
        }
    }

    fn read<T>(&mut self, setting: Setting, form: &str, read: impl Fn(&'a str) -> Option<T>) -> Option<T> {
        let (annotation, value) = self.pod.setting(setting)?;
        let read = read(value);
        if read.is_none() {
            let message = format!("{} is not usable; write {form}; using the default", quoted(value));
            self.reject("annotation", annotation, &message);
        }
        read
    }

    fn reject(&mut self, place: &str, name: &str, message: &str) {
        let message = format!("{place} {name}: {message}");
        self.rejected.insert(Rejection::new(&self.pod.reference, Reason::InvalidSetting, message));
    }
}
