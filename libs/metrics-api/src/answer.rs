//! From a request to a response.

use http::{Method, Uri};
use serde_json::Value;
use signalbox_types::PoolId;

use crate::discovery;
use crate::failure::Failure;
use crate::metrics::{Metrics, NoReading, Reading};
use crate::selector::Selector;
use crate::target::{ApiGroup, POOL_APIS, POOLS, PoolApi, Target};
use crate::values::{self, POOL_LABEL};

/// Pools that an error lists at most.
const MAX_LISTED: usize = 10;

/// A response: its status code and its body, which is JSON.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The HTTP status code.
    pub code: u16,
    /// The body.
    pub body: Value,
}

impl From<Failure> for Answer {
    fn from(failure: Failure) -> Self {
        Self { code: failure.code(), body: failure.body() }
    }
}

/// Answers a request. `serves_external` says whether `external.metrics.k8s.io` is served at all.
pub fn answer(method: &Method, uri: &Uri, serves_external: bool, metrics: &impl Metrics) -> Answer {
    match body(method, uri, serves_external, metrics) {
        Ok(body) => Answer { code: 200, body },
        Err(failure) => failure.into(),
    }
}

fn body(method: &Method, uri: &Uri, serves_external: bool, metrics: &impl Metrics) -> Result<Value, Failure> {
    if method != Method::GET {
        return Err(Failure::MethodNotAllowed);
    }
    let served = if serves_external { &ApiGroup::ALL[..] } else { &ApiGroup::ALL[..1] };
    let nothing = || Failure::NotFound(format!("the server could not find {}", uri.path()));
    let target = Target::parse(uri.path()).ok_or_else(nothing)?;
    let query = Query::parse(uri.query().unwrap_or_default());
    let is_served = |group| served.contains(&group);
    match target {
        Target::Groups => Ok(discovery::groups(served)),
        Target::Group(group) if is_served(group) => Ok(discovery::group(group)),
        Target::Resources(group, version) if is_served(group) => {
            Ok(discovery::resources(group, version, metrics.names()))
        }
        Target::Object { version, namespace, resource, name, metric } => {
            let api = pool_api(&resource, &metric)?;
            check_metric(metrics, &metric)?;
            let selector = selector("metricLabelSelector", &query.metric_label_selector)?;
            let pools = named_pools(metrics, &namespace, name.as_deref(), &query)?;
            let is_selected = |labels: &[(&str, &str)]| selector.matches(&labels.iter().copied());
            let read = |pool: PoolId| {
                let reading =
                    metrics.read(&pool, &metric, &is_selected).map_err(|why| no_reading(&pool, why))?;
                Ok((pool, reading))
            };
            let readings: Vec<(PoolId, Reading)> = pools.into_iter().map(read).collect::<Result<_, _>>()?;
            values::of_objects(version, api, (&metric, &selector), &readings)
        }
        Target::External { namespace, metric } if serves_external => {
            check_metric(metrics, &metric)?;
            let selector = selector("labelSelector", &query.label_selector)?;
            external(metrics, &namespace, &metric, &selector)
        }
        Target::Group(_) | Target::Resources(..) | Target::External { .. } => Err(nothing()),
    }
}

/// Returns the external metric of the one pool that is selected. The autoscaler would add several up.
fn external(
    metrics: &impl Metrics,
    namespace: &str,
    metric: &str,
    selector: &Selector,
) -> Result<Value, Failure> {
    let mut pools = metrics.pools(namespace);
    pools.retain(|pool| selector.may_match(POOL_LABEL, &pool.name));
    match pools.as_slice() {
        [] => Err(no_pool(metrics, namespace, "that the selector selects")),
        [pool] => {
            let is_selected = |labels: &[(&str, &str)]| {
                let of_pool = [(POOL_LABEL, pool.name.as_str())];
                selector.matches(&of_pool.into_iter().chain(labels.iter().copied()))
            };
            let reading = metrics.read(pool, metric, &is_selected).map_err(|why| no_reading(pool, why))?;
            values::external(metric, pool, &reading)
        }
        [one, other, ..] => Err(Failure::BadRequest(format!(
            "the selector selects the pools {} and {}, whose values the autoscaler would add up; \
             select one with {POOL_LABEL}=NAME",
            one.name, other.name
        ))),
    }
}

/// Returns the pool of this name or, without one, all pools of the namespace.
fn named_pools(
    metrics: &impl Metrics,
    namespace: &str,
    name: Option<&str>,
    query: &Query,
) -> Result<Vec<PoolId>, Failure> {
    let pools = metrics.pools(namespace);
    let objects = selector("labelSelector", &query.label_selector)?;
    let Some(name) = name else {
        if !objects.is_empty() {
            let message = "pools cannot be selected by their labels; name one instead of *";
            return Err(Failure::BadRequest(message.to_owned()));
        }
        return Ok(pools);
    };
    let found = pools.into_iter().find(|pool| pool.name == name);
    Ok(vec![found.ok_or_else(|| no_pool(metrics, namespace, &format!("{name:?}")))?])
}

fn pool_api(resource: &str, metric: &str) -> Result<PoolApi, Failure> {
    let is_resource = |api: &&PoolApi| {
        resource.strip_prefix(POOLS).and_then(|rest| rest.strip_prefix('.')) == Some(api.group)
    };
    POOL_APIS.iter().find(is_resource).copied().ok_or_else(|| {
        let known = POOL_APIS.map(|api| format!("{POOLS}.{}", api.group)).join(" and ");
        Failure::NotFound(format!(
            "the server could not find the metric {metric} for {resource}: only {known} have metrics"
        ))
    })
}

fn check_metric(metrics: &impl Metrics, metric: &str) -> Result<(), Failure> {
    if metrics.names().contains(&metric) {
        return Ok(());
    }
    let known = metrics.names().join(", ");
    Err(Failure::NotFound(format!("the server could not find the metric {metric}; there are: {known}")))
}

fn no_pool(metrics: &impl Metrics, namespace: &str, which: &str) -> Failure {
    let pools = metrics.pools(namespace);
    let mut known: Vec<&str> = pools.iter().map(|pool| pool.name.as_str()).take(MAX_LISTED).collect();
    if known.len() < pools.len() {
        known.push("and more");
    }
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    Failure::NotFound(format!(
        "there is no pool {which} in namespace {namespace}; this server knows: {known}"
    ))
}

fn no_reading(pool: &PoolId, why: NoReading) -> Failure {
    match why {
        NoReading::Selection(text) => Failure::BadRequest(format!("pool {pool}: {text}")),
        NoReading::Unavailable(text) => Failure::Unavailable(format!("pool {pool}: {text}")),
    }
}

fn selector(parameter: &str, text: &str) -> Result<Selector, Failure> {
    Selector::parse(text).map_err(|error| Failure::BadRequest(format!("{parameter}: {error}")))
}

/// The parameters of a request that count.
#[derive(Debug, Default)]
struct Query {
    label_selector: String,
    metric_label_selector: String,
}

impl Query {
    fn parse(query: &str) -> Self {
        let mut parsed = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "labelSelector" => parsed.label_selector = value.into_owned(),
                "metricLabelSelector" => parsed.metric_label_selector = value.into_owned(),
                _ => {}
            }
        }
        parsed
    }
}

#[cfg(test)]
mod tests;
