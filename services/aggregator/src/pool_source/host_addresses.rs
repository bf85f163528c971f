//! The addresses of host names.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use signalbox_types::EndpointSpec;
use tokio::net::lookup_host;
use tokio::task::JoinSet;

use crate::endpoints_file::NamedEndpoint;

/// The addresses of a name, or why there are none.
pub(super) type Found = Result<BTreeSet<IpAddr>, String>;

/// Looks up a name.
pub(super) type Lookup = Arc<dyn Fn(String) -> BoxFuture<'static, Found> + Send + Sync>;

/// The addresses that host names had when they were last resolved.
pub(super) struct HostAddresses {
    lookup: Lookup,
    known: BTreeMap<String, Resolved>,
    /// The names that are being looked up. A lookup occupies a thread until it ends, so each name has at most one.
    running: HashSet<String>,
    lookups: JoinSet<(String, Found)>,
    /// The names of endpoints that were last left out because another endpoint has them.
    left_out: BTreeSet<String>,
}

#[derive(Debug, Default)]
struct Resolved {
    addresses: BTreeSet<IpAddr>,
    /// Why the last resolution failed, if it did.
    error: Option<String>,
}

impl HostAddresses {
    /// Knows no names yet.
    pub(super) fn new(lookup: Lookup) -> Self {
        Self {
            lookup,
            known: BTreeMap::new(),
            running: HashSet::new(),
            lookups: JoinSet::new(),
            left_out: BTreeSet::new(),
        }
    }

    /// Starts to resolve the hosts of `named`, except those whose last lookup still runs, and forgets all others.
    /// [`Self::next_answer`] waits for the answers.
    pub(super) fn resolve(&mut self, named: &[NamedEndpoint]) {
        let hosts: BTreeSet<&str> = named.iter().map(|named| &*named.host).collect();
        self.known.retain(|host, _| hosts.contains(host.as_str()));
        for host in hosts {
            self.known.entry(host.to_owned()).or_default();
            if self.running.insert(host.to_owned()) {
                let (host, found) = (host.to_owned(), (self.lookup)(host.to_owned()));
                self.lookups.spawn(async move { (host, found.await) });
            }
        }
    }

    /// Waits for the answer of a lookup, and records it. Does not return while none runs. Cancel safe.
    pub(super) async fn next_answer(&mut self) {
        // A lookup does not panic, and nobody aborts it.
        let Some(Ok((host, found))) = self.lookups.join_next().await else {
            return std::future::pending().await;
        };
        self.running.remove(&host);
        self.record(&host, found);
    }

    /// Records what was found for a name, unless it is forgotten. A name that cannot be resolved keeps its last
    /// addresses: a name server that fails must not empty the pool.
    fn record(&mut self, host: &str, found: Found) {
        let Some(known) = self.known.get_mut(host) else { return };
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

    /// Returns whether each host of `named` was resolved at least once.
    pub(super) fn has_all(&self, named: &[NamedEndpoint]) -> bool {
        let has_addresses = |known: &Resolved| !known.addresses.is_empty();
        named.iter().all(|named| self.known.get(&named.host).is_some_and(has_addresses))
    }

    /// Adds an endpoint for each address of each of `named`, in the order of the addresses. An endpoint whose address or
    /// name another endpoint has already is left out; of names, the log says so.
    pub(super) fn add_endpoints(&mut self, named: &[NamedEndpoint], endpoints: &mut Vec<EndpointSpec>) {
        let mut addresses: HashSet<_> = endpoints.iter().map(|endpoint| endpoint.address).collect();
        let mut names: HashSet<_> = endpoints.iter().map(|endpoint| endpoint.name.clone()).collect();
        let mut left_out = BTreeSet::new();
        for named in named {
            for ip in self.known.get(&named.host).into_iter().flat_map(|known| &known.addresses) {
                let endpoint = named.at(*ip);
                if !addresses.insert(endpoint.address) {
                    continue;
                }
                if names.insert(endpoint.name.clone()) {
                    endpoints.push(endpoint);
                } else {
                    left_out.insert(endpoint.name);
                }
            }
        }
        for name in left_out.difference(&self.left_out) {
            tracing::error!(
                name,
                "leaving out an address of a host name of the endpoints file because another endpoint has the name that it would get; rename one of the two"
            );
        }
        self.left_out = left_out;
    }
}

/// Returns a [`Lookup`] that asks the system.
pub(super) fn system_lookup() -> Lookup {
    Arc::new(|host| {
        async move {
            // The port has no meaning for the name.
            let found = lookup_host((host, 0)).await.map_err(|error| error.to_string())?;
            Ok(found.map(|address| address.ip()).collect())
        }
        .boxed()
    })
}

#[cfg(test)]
mod tests {
    use signalbox_types::PageSettings;
    use tokio::sync::Semaphore;

    use super::*;
    use crate::endpoints_file::{Parsed, parse};

    const FILE: &str = "apiVersion: signalbox/v1
kind: Endpoints
pool: { name: p }
endpoints:
- { name: fixed, address: 10.0.0.2:8000 }
- { name: a, address: \"a:8000\" }
- { name: b, address: \"b:8000\" }
- { name: other-port, address: \"a:8001\" }
- { name: b-10.0.0.5, address: 10.0.0.6:8000 }
";

    fn parsed() -> Parsed {
        parse(FILE, &PageSettings::default()).unwrap()
    }

    fn ips(texts: &[&str]) -> Found {
        Ok(texts.iter().map(|text| text.parse().unwrap()).collect())
    }

    fn names(addresses: &mut HostAddresses) -> Vec<String> {
        let parsed = parsed();
        let mut endpoints = parsed.spec.endpoints;
        addresses.add_endpoints(&parsed.named, &mut endpoints);
        endpoints.into_iter().map(|endpoint| endpoint.name).collect()
    }

    #[tokio::test]
    async fn each_address_is_an_endpoint_and_none_is_one_twice() {
        let mut addresses = HostAddresses::new(Arc::new(|_| std::future::pending().boxed()));
        addresses.resolve(&parsed().named);
        assert_eq!(["fixed", "b-10.0.0.5"], *names(&mut addresses));
        addresses.record("a", ips(&["10.0.0.3", "10.0.0.2", "10.0.0.1"]));
        assert!(!addresses.has_all(&parsed().named));
        // The endpoint at 10.0.0.5 would get the name of a fixed one.
        addresses.record("b", ips(&["10.0.0.1", "10.0.0.4", "10.0.0.5"]));
        assert!(addresses.has_all(&parsed().named));
        let expected = [
            "fixed",
            "b-10.0.0.5",
            "a-10.0.0.1",
            "a-10.0.0.3",
            "b-10.0.0.4",
            "other-port-10.0.0.1",
            "other-port-10.0.0.2",
            "other-port-10.0.0.3",
        ];
        assert_eq!(expected, *names(&mut addresses));
        assert_eq!(["b-10.0.0.5"], *addresses.left_out.iter().collect::<Vec<_>>());
        addresses.record("a", ips(&["10.0.0.3"]));
        addresses.record("b", ips(&["10.0.0.1", "10.0.0.4"]));
        addresses.record("b", Err("no answer".to_owned()));
        assert_eq!(
            ["fixed", "b-10.0.0.5", "a-10.0.0.3", "b-10.0.0.1", "b-10.0.0.4", "other-port-10.0.0.3"],
            *names(&mut addresses)
        );
        assert!(addresses.left_out.is_empty());
    }

    #[tokio::test]
    async fn name_is_looked_up_once_at_a_time_and_forgotten() {
        let (started, answers) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let (starts, allowed) = (Arc::clone(&started), Arc::clone(&answers));
        let mut addresses = HostAddresses::new(Arc::new(move |_| {
            starts.add_permits(1);
            let allowed = Arc::clone(&allowed);
            async move {
                allowed.acquire().await.unwrap().forget();
                ips(&["10.0.0.1"])
            }
            .boxed()
        }));
        let named = parsed().named;
        addresses.resolve(&named);
        addresses.resolve(&[]);
        addresses.resolve(&named);
        assert_eq!(2, started.available_permits(), "one lookup for each of two names");
        answers.add_permits(2);
        addresses.next_answer().await;
        addresses.next_answer().await;
        assert!(addresses.has_all(&named));
        addresses.resolve(&named);
        assert_eq!(4, started.available_permits());
        addresses.resolve(&[]);
        answers.add_permits(2);
        addresses.next_answer().await;
        assert!(addresses.known.is_empty());
    }

    #[tokio::test]
    async fn system_knows_the_local_host_only() {
        let lookup = system_lookup();
        assert!(lookup("localhost".to_owned()).await.unwrap().iter().any(IpAddr::is_loopback));
        assert!(lookup("no-such-name.invalid".to_owned()).await.is_err());
    }
}
