//! What Services mean for pods: the addresses of their names, the variables in the pods' environment, and the rules that
//! give cluster IPs their destinations. Computed from Services and EndpointSlices, as kube-proxy and a DNS server do.
//!
//! Not supported: session affinity, node ports, external names, and protocols other than TCP.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::Value;

/// The label of an EndpointSlice that names its Service.
const SERVICE_LABEL: &str = "kubernetes.io/service-name";

/// What follows the namespace in the name of a Service.
const DOMAIN: &str = ".svc.cluster.local";

/// A port of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Port {
    name: String,
    number: u64,
    /// The addresses and ports of the endpoints that take connections.
    targets: Vec<(String, u64)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Service {
    namespace: String,
    name: String,
    /// The cluster IP; `None` for a headless Service.
    address: Option<String>,
    ports: Vec<Port>,
    /// The addresses of ready endpoints, with the host name that a stateful set gives a pod.
    ready: Vec<(String, Option<String>)>,
}

/// All Services at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Services(Vec<Service>);

impl Services {
    /// Reads lists of Services and EndpointSlices.
    pub(crate) fn read(services: &[Value], slices: &[Value]) -> Self {
        let mut by_service: BTreeMap<(&str, &str), Vec<&Value>> = BTreeMap::new();
        for slice in slices {
            let metadata = &slice["metadata"];
            let key = (text(&metadata["namespace"]), text(&metadata["labels"][SERVICE_LABEL]));
            by_service.entry(key).or_default().push(slice);
        }
        let read = |service: &Value| {
            let key = (text(&service["metadata"]["namespace"]), text(&service["metadata"]["name"]));
            read_service(service, by_service.get(&key).map_or(&[], Vec::as_slice))
        };
        let mut services: Vec<Service> = services.iter().map(read).collect();
        services.sort_by(|one, other| (&one.namespace, &one.name).cmp(&(&other.namespace, &other.name)));
        Self(services)
    }

    /// Returns the addresses of a full name: the cluster IP of a Service, or the ready endpoints of a headless one. `None`
    /// if there is no such name.
    pub(crate) fn addresses(&self, name: &str) -> Option<Vec<String>> {
        let name = name.to_lowercase();
        let mut labels: Vec<&str> = name.trim_end_matches('.').strip_suffix(DOMAIN)?.split('.').collect();
        let (namespace, service) = (labels.pop()?, labels.pop()?);
        let is_named = |candidate: &&Service| candidate.namespace == namespace && candidate.name == service;
        let service = self.0.iter().find(is_named)?;
        match (&service.address, labels.as_slice()) {
            (Some(address), []) => Some(vec![address.clone()]),
            (None, []) => Some(service.ready.iter().map(|(address, _)| address.clone()).collect()),
            (None, [host]) => {
                let is_host = |(_, name): &&(String, Option<String>)| name.as_deref() == Some(*host);
                let found: Vec<String> =
                    service.ready.iter().filter(is_host).map(|(address, _)| address.clone()).collect();
                (!found.is_empty()).then_some(found)
            }
            _ => None,
        }
    }

    /// Returns the variables by which a pod in `namespace` finds Services, as the kubelet sets them.
    pub(crate) fn variables(&self, namespace: &str, with_links: bool) -> Vec<(String, String)> {
        let is_visible = |service: &&Service| {
            let is_api_server = service.namespace == "default" && service.name == "kubernetes";
            is_api_server || (with_links && service.namespace == namespace)
        };
        self.0.iter().filter(is_visible).flat_map(variables_of).collect()
    }

    /// Returns the rules of nftables that send connections to cluster IPs to endpoints. A cluster IP without
    /// endpoints has no rule, and the router no route for it, so that connections are refused.
    pub(crate) fn rules(&self) -> String {
        let mut rules = String::from("table ip services\ndelete table ip services\ntable ip services {\n");
        rules.push_str("chain prerouting {\ntype nat hook prerouting priority dstnat;\n");
        for service in &self.0 {
            for port in service.ports.iter().filter(|port| !port.targets.is_empty()) {
                let Some(address) = &service.address else { continue };
                let number =
                    |(index, (target, at)): (usize, &(String, u64))| format!("{index} : {target} . {at}");
                let targets: Vec<String> = port.targets.iter().enumerate().map(number).collect();
                let (count, targets) = (targets.len(), targets.join(", "));
                let _ = writeln!(
                    rules,
                    "ip daddr {address} tcp dport {} dnat ip to numgen random mod {count} map {{ {targets} }}",
                    port.number
                );
            }
        }
        rules.push_str("}\n}\n");
        rules
    }
}

fn read_service(service: &Value, slices: &[&Value]) -> Service {
    let address = service["spec"]["clusterIP"].as_str().filter(|address| !matches!(*address, "" | "None"));
    let ports = service["spec"]["ports"].as_array().into_iter().flatten().map(|port| {
        let name = text(&port["name"]);
        let number = port["port"].as_u64().unwrap_or_default();
        Port { name: name.to_owned(), number, targets: targets(slices, name) }
    });
    let ready =
        endpoints(slices).filter(|(_, endpoint)| is(endpoint, "ready", true)).flat_map(|(_, endpoint)| {
            let host = endpoint["hostname"].as_str().map(str::to_owned);
            addresses(endpoint).map(move |address| (address, host.clone()))
        });
    let mut ready: Vec<_> = ready.collect();
    ready.sort();
    Service {
        namespace: text(&service["metadata"]["namespace"]).to_owned(),
        name: text(&service["metadata"]["name"]).to_owned(),
        address: address.map(str::to_owned),
        ports: ports.collect(),
        ready,
    }
}

/// Returns the destinations of a port: the ready endpoints or, if there are none, those that still serve while they
/// end.
fn targets(slices: &[&Value], port: &str) -> Vec<(String, u64)> {
    let matching = |condition: fn(&Value) -> bool| {
        let chosen = endpoints(slices).filter(|(_, endpoint)| condition(endpoint));
        let targets = chosen.flat_map(|(slice, endpoint)| {
            let ports = slice["ports"].as_array().into_iter().flatten();
            let number =
                ports.filter(|found| text(&found["name"]) == port).find_map(|found| found["port"].as_u64());
            addresses(endpoint).filter_map(move |address| Some((address, number?)))
        });
        let mut targets: Vec<_> = targets.collect();
        targets.sort();
        targets.dedup();
        targets
    };
    let ready = matching(|endpoint| is(endpoint, "ready", true));
    if !ready.is_empty() {
        return ready;
    }
    matching(|endpoint| is(endpoint, "serving", true) && is(endpoint, "terminating", false))
}

fn endpoints<'a>(slices: &[&'a Value]) -> impl Iterator<Item = (&'a Value, &'a Value)> {
    let slices: Vec<&Value> = slices.to_vec();
    slices.into_iter().flat_map(|slice| {
        let endpoints = slice["endpoints"].as_array().into_iter().flatten();
        endpoints.map(move |endpoint| (slice, endpoint))
    })
}

fn is(endpoint: &Value, condition: &str, default: bool) -> bool {
    endpoint["conditions"][condition].as_bool().unwrap_or(default)
}

fn addresses(endpoint: &Value) -> impl Iterator<Item = String> {
    endpoint["addresses"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned)
}

fn variables_of(service: &Service) -> Vec<(String, String)> {
    let (Some(address), Some(first)) = (&service.address, service.ports.first()) else { return Vec::new() };
    let name = service.name.to_uppercase().replace('-', "_");
    let url = |port: &Port| format!("tcp://{address}:{}", port.number);
    let mut variables = vec![
        (format!("{name}_SERVICE_HOST"), address.clone()),
        (format!("{name}_SERVICE_PORT"), first.number.to_string()),
        (format!("{name}_PORT"), url(first)),
    ];
    for port in &service.ports {
        let prefix = format!("{name}_PORT_{}_TCP", port.number);
        variables.push((prefix.clone(), url(port)));
        variables.push((format!("{prefix}_PROTO"), "tcp".to_owned()));
        variables.push((format!("{prefix}_PORT"), port.number.to_string()));
        variables.push((format!("{prefix}_ADDR"), address.clone()));
        if !port.name.is_empty() {
            let suffix = port.name.to_uppercase().replace('-', "_");
            variables.push((format!("{name}_SERVICE_PORT_{suffix}"), port.number.to_string()));
        }
    }
    variables
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::Services;

    fn service(name: &str, address: &str) -> Value {
        json!({
            "metadata": { "namespace": "shop", "name": name },
            "spec": { "clusterIP": address, "ports": [{ "name": "http", "port": 80 }] },
        })
    }

    fn slice(service: &str, endpoints: &Value) -> Value {
        json!({
            "metadata": { "namespace": "shop", "labels": { "kubernetes.io/service-name": service } },
            "ports": [{ "name": "http", "port": 8000 }],
            "endpoints": endpoints,
        })
    }

    #[test]
    fn headless_service_has_the_addresses_of_its_ready_endpoints() {
        let endpoints = json!([
            { "addresses": ["10.244.1.3"], "conditions": { "ready": true }, "hostname": "web-1" },
            { "addresses": ["10.244.1.2"], "conditions": { "ready": true } },
            { "addresses": ["10.244.1.4"], "conditions": { "ready": false, "serving": true, "terminating": true } },
        ]);
        let services = Services::read(&[service("web", "None")], &[slice("web", &endpoints)]);
        let addresses = |name: &str| services.addresses(name);
        assert_eq!(
            addresses("web.shop.svc.cluster.local"),
            Some(vec!["10.244.1.2".to_owned(), "10.244.1.3".to_owned()])
        );
        assert_eq!(addresses("web-1.web.shop.svc.cluster.local."), Some(vec!["10.244.1.3".to_owned()]));
        for name in ["web-2.web.shop.svc.cluster.local", "web.other.svc.cluster.local", "web.shop.svc", "web"]
        {
            assert_eq!(addresses(name), None, "{name}");
        }
        assert!(!services.rules().contains("dnat ip"));
    }

    #[test]
    fn cluster_ip_leads_to_ready_endpoints_or_else_to_ending_ones() {
        let ending = json!({ "ready": false, "serving": true, "terminating": true });
        let both = json!([
            { "addresses": ["10.244.1.2"], "conditions": { "ready": true } },
            { "addresses": ["10.244.1.3"], "conditions": ending },
        ]);
        let services = Services::read(&[service("web", "10.96.0.7")], &[slice("web", &both)]);
        let rule =
            "ip daddr 10.96.0.7 tcp dport 80 dnat ip to numgen random mod 1 map { 0 : 10.244.1.2 . 8000 }";
        assert!(services.rules().contains(rule), "{}", services.rules());
        let last = json!([{ "addresses": ["10.244.1.3"], "conditions": ending }]);
        let services = Services::read(&[service("web", "10.96.0.7")], &[slice("web", &last)]);
        assert!(services.rules().contains("0 : 10.244.1.3 . 8000"));
        assert_eq!(services.addresses("web.shop.svc.cluster.local"), Some(vec!["10.96.0.7".to_owned()]));
    }

    #[test]
    fn pods_find_services_by_variables() {
        let services = Services::read(&[service("web-front", "10.96.0.7")], &[]);
        let variables = services.variables("shop", true);
        let value = |name: &str| {
            let found = variables.iter().find(|(variable, _)| variable == name);
            found.map(|(_, value)| value.as_str())
        };
        assert_eq!(value("WEB_FRONT_SERVICE_HOST"), Some("10.96.0.7"));
        assert_eq!(value("WEB_FRONT_PORT"), Some("tcp://10.96.0.7:80"));
        assert_eq!(value("WEB_FRONT_SERVICE_PORT_HTTP"), Some("80"));
        assert!(services.variables("shop", false).is_empty());
        assert!(services.variables("other", true).is_empty());
    }
}
