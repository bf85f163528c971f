//! Looks up the IP addresses behind the given host names, again and again: behind the name of a headless
//! Service, they change with its pods.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use signalbox_types::PeerAddress;
use tokio::net::lookup_host;
use tokio::sync::watch;
use tokio::time::timeout;

/// Time between two lookups. It is shortened by up to half, so that processes do not ask together.
const LOOKUP_INTERVAL: Duration = Duration::from_secs(5);

/// Time between two lookups while a name has no address.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);

/// Time limit for one lookup.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

/// Watches the addresses behind `given`. IP addresses and `localhost` stand for themselves. A name that cannot
/// be looked up keeps its last addresses.
pub(super) fn watch_addresses(given: Vec<PeerAddress>) -> watch::Receiver<Vec<PeerAddress>> {
    let (names, fixed): (Vec<_>, Vec<_>) = given.into_iter().partition(is_name);
    let (sender, receiver) = watch::channel(fixed.clone());
    tokio::spawn(async move {
        tokio::select! {
            () = look_up(names, fixed, &sender) => {}
            () = sender.closed() => {}
        }
    });
    receiver
}

fn is_name(address: &PeerAddress) -> bool {
    !address.is_loopback() && address.host().parse::<IpAddr>().is_err()
}

async fn look_up(names: Vec<PeerAddress>, fixed: Vec<PeerAddress>, sender: &watch::Sender<Vec<PeerAddress>>) {
    let mut found: BTreeMap<&PeerAddress, Vec<PeerAddress>> = BTreeMap::new();
    let mut failures: BTreeMap<&PeerAddress, String> = BTreeMap::new();
    while !names.is_empty() {
        for name in &names {
            match addresses(name).await {
                Ok(addresses) => {
                    failures.remove(name);
                    found.insert(name, addresses);
                }
                Err(reason) => {
                    if failures.get(name) != Some(&reason) {
                        tracing::warn!(%name, reason, "cannot look up the addresses of aggregators; retrying");
                    }
                    failures.insert(name, reason);
                }
            }
        }
        let addresses: Vec<_> = fixed.iter().chain(found.values().flatten()).cloned().collect();
        sender.send_if_modified(|last| {
            let is_changed = *last != addresses;
            *last = addresses;
            is_changed
        });
        let interval = if found.len() == names.len() { LOOKUP_INTERVAL } else { RETRY_INTERVAL };
        tokio::time::sleep(interval.mul_f64(1.0 - rand::random::<f64>() / 2.0)).await;
    }
    // The addresses never change.
    std::future::pending().await
}

/// Returns the addresses behind `name`, sorted.
async fn addresses(name: &PeerAddress) -> Result<Vec<PeerAddress>, String> {
    let looked_up = timeout(LOOKUP_TIMEOUT, lookup_host(name.to_string())).await;
    let looked_up = looked_up.map_err(|_| format!("no answer within {} s", LOOKUP_TIMEOUT.as_secs()))?;
    let mut addresses: Vec<SocketAddr> = looked_up.map_err(|error| error.to_string())?.collect();
    addresses.sort();
    addresses.dedup();
    Ok(addresses.into_iter().map(PeerAddress::from).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn addresses_stand_for_themselves_and_an_unknown_name_for_none() {
        let given = ["10.0.0.1:1", "[fd00::1]:2", "localhost:3", "does-not-exist.invalid:4"];
        let given: Vec<PeerAddress> = given.iter().map(|text| text.parse().unwrap()).collect();
        let addresses = watch_addresses(given.clone());
        assert_eq!(given[..3], *addresses.borrow());
        assert!(super::addresses(&given[3]).await.is_err());
    }

    #[tokio::test]
    async fn host_name_stands_for_its_ip_addresses() {
        let found = addresses(&"localhost:7".parse().unwrap()).await.unwrap();
        assert!(found.contains(&"127.0.0.1:7".parse().unwrap()), "{found:?}");
    }
}
