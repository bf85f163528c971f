//! Many clients at once.

use std::collections::BTreeMap;

use futures_util::future::try_join_all;
use signalbox_integration::{Ask, Delivery, Site, SiteConfig};

const CLIENTS: u64 = 500;
const REQUESTS_EACH: u64 = 4;

/// Returns the pods that served.
async fn client(site: &Site, number: u64) -> anyhow::Result<Vec<String>> {
    let mut pods = Vec::new();
    for request in 0..REQUESTS_EACH {
        let delivery = if request % 2 == 0 { Delivery::Whole } else { Delivery::Events };
        let ask = Ask { topic: number << 32 | request, bytes: 2_000, max_tokens: Some(16), delivery };
        pods.push(site.ask(&ask).await?.pod()?.to_owned());
    }
    Ok(pods)
}

#[tokio::test]
async fn five_hundred_clients_at_once_see_no_error() {
    let site = Site::start(SiteConfig::default()).await.unwrap();
    let served = try_join_all((0..CLIENTS).map(|number| client(&site, number))).await.unwrap();
    let mut shares: BTreeMap<String, u64> = BTreeMap::new();
    for pod in served.into_iter().flatten() {
        *shares.entry(pod).or_default() += 1;
    }
    assert_eq!(shares.values().sum::<u64>(), CLIENTS * REQUESTS_EACH);
    let least = shares.values().min().copied();
    // An even share of 2,000 over three pods is 667; half of it leaves room for a busy machine.
    assert!(shares.len() == 3 && least > Some(333), "{shares:?}");
    for gauge in ["own_in_flight_requests", "others_in_flight_requests", "streams"] {
        site.metric_is(gauge, |requests| requests == 0.0).await.unwrap();
    }
}
