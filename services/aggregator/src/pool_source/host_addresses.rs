//! The addresses of host names.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::IpAddr;
use std::time::Duration;

use signalbox_types::EndpointSpec;
use tokio::net::lookup_host;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::endpoints_file::NamedEndpoint;

/// How long the resolution of a name may take.
const TIMEOUT: Duration = Duration::from_secs(3);

/// The addresses that host names had when they were last resolved.
#[derive(Debug, Default)]
pub(super) struct HostAddresses(BTreeMap<String, Resolved>);

#[derive(Debug, Default)]
struct Resolved {
    addresses: BTreeSet<IpAddr>,
    /// Why the last resolution failed, if it did.
    error: Option<String>,
}

impl HostAddresses {
    /// Resolves these names, and forgets all others. A name that cannot be resolved keeps its last addresses: a server
    /// of names that fails must not empty the pool.
    pub(super) async fn resolve<'a>(&mut self, hosts: impl Iterator<Item = &'a str>) {
        let hosts: BTreeSet<String> = hosts.map(str::to_owned).collect();
        self.0.retain(|host, _| hosts.contains(host));
        let mut lookups = JoinSet::new();
        for host in hosts {
            lookups.spawn(async move { (lookup(&host).await, host) });
        }
        // A lookup does not panic, and nobody aborts it.
        while let Some(Ok((found, host))) = lookups.join_next().await {
            self.record(&host, found);
        }
    }

    fn record(&mut self, host: &str, found: Result<BTreeSet<IpAddr>, String>) {
        let known = self.0.entry(host.to_owned()).or_default();
        match found {
            Ok(addresses) => *known = Resolved { addresses, error: None },
            Err(error) => {
                if known.error.as_ref() != Some(&error) {
                    let addresses = known.addresses.len();
                    tracing::warn!(
                        host,
                        error,
                        addresses,
                        "cannot resolve a host name of the endpoints file; keeping its last addresses"
                    );
                }
                known.error = Some(error);
            }
        }
    }

    /// Adds an endpoint for each address of each of `named`, in the order of the addresses. An address that another
    /// endpoint has already is left out.
    pub(super) fn add_endpoints(&self, named: &[NamedEndpoint], endpoints: &mut Vec<EndpointSpec>) {
        let mut taken: HashSet<_> = endpoints.iter().map(|endpoint| endpoint.address).collect();
        for named in named {
            let addresses = self.0.get(&named.host).into_iter().flat_map(|known| &known.addresses);
            let all = addresses.map(|ip| named.at(*ip));
            endpoints.extend(all.filter(|endpoint| taken.insert(endpoint.address)));
        }
    }
}

async fn lookup(host: &str) -> Result<BTreeSet<IpAddr>, String> {
    // The port has no meaning for the name.
    match timeout(TIMEOUT, lookup_host((host, 0))).await {
        Ok(Ok(found)) => Ok(found.map(|address| address.ip()).collect()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {TIMEOUT:?}")),
    }
}

#[cfg(test)]
mod tests {
    use signalbox_types::PageSettings;

    use super::*;
    use crate::endpoints_file::parse;

    const FILE: &str = "apiVersion: signalbox/v1
kind: Endpoints
pool: { name: p }
endpoints:
- { name: fixed, address: 10.0.0.2:8000 }
- { name: a, address: \"a:8000\" }
- { name: b, address: \"b:8000\" }
- { name: other-port, address: \"a:8001\" }
";

    fn ips(texts: &[&str]) -> Result<BTreeSet<IpAddr>, String> {
        Ok(texts.iter().map(|text| text.parse().unwrap()).collect())
    }

    fn names(addresses: &HostAddresses) -> Vec<String> {
        let parsed = parse(FILE, &PageSettings::default()).unwrap();
        let mut endpoints = parsed.spec.endpoints;
        addresses.add_endpoints(&parsed.named, &mut endpoints);
        endpoints.into_iter().map(|endpoint| endpoint.name).collect()
    }

    #[test]
    fn each_address_is_an_endpoint_and_none_is_one_twice() {
        let mut addresses = HostAddresses::default();
        assert_eq!(["fixed"], *names(&addresses));
        addresses.record("a", ips(&["10.0.0.3", "10.0.0.2", "10.0.0.1"]));
        addresses.record("b", ips(&["10.0.0.1", "10.0.0.4"]));
        let expected = [
            "fixed",
            "a-10.0.0.1",
            "a-10.0.0.3",
            "b-10.0.0.4",
            "other-port-10.0.0.1",
            "other-port-10.0.0.2",
            "other-port-10.0.0.3",
        ];
        assert_eq!(expected, *names(&addresses));
        addresses.record("a", ips(&["10.0.0.3"]));
        addresses.record("b", Err("no answer".to_owned()));
        assert_eq!(
            ["fixed", "a-10.0.0.3", "b-10.0.0.1", "b-10.0.0.4", "other-port-10.0.0.3"],
            *names(&addresses)
        );
    }

    #[tokio::test]
    async fn names_are_resolved_and_forgotten() {
        let mut addresses = HostAddresses::default();
        addresses.resolve(["localhost", "no-such-name.invalid"].into_iter()).await;
        assert!(addresses.0["localhost"].addresses.iter().any(IpAddr::is_loopback));
        assert!(addresses.0["no-such-name.invalid"].error.is_some());
        addresses.resolve(std::iter::empty()).await;
        assert!(addresses.0.is_empty());
    }
}
