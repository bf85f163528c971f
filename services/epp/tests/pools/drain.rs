//! A replica that is asked to stop, and a pool that is gone.

use std::time::Duration;

use tonic_health::pb::health_check_response::ServingStatus;

use crate::gateway::{OpenRequest, ask, connect, eventually, health};
use crate::{PORTS, Served, endpoint_of};

#[tokio::test]
async fn requests_are_accepted_until_gateways_had_time_to_notice_the_drain() {
    let served = Served::start_with(Duration::from_secs(5)).await;
    served.aggregator.set_pools(&[("chat", PORTS[0], 1)]);
    served.wait_served("chat", PORTS[0]).await;
    served.epp.ready().await;
    let (address, probe) = (served.address(PORTS[0]), served.epp.health_address());
    let open = OpenRequest::start(connect(address).await.unwrap()).await.unwrap();
    let stop = tokio::spawn(served.epp.stop());
    let not_serving = async || {
        let (port, probe) = (health(address, "").await, health(probe, "readiness").await);
        ((port, probe) == (Some(ServingStatus::NotServing), Some(ServingStatus::NotServing))).then_some(())
    };
    eventually("the replica reports not serving", not_serving).await;
    assert_eq!(Some(ServingStatus::Serving), health(probe, "liveness").await);
    assert_eq!(Some(endpoint_of("chat")), ask(address).await, "a new request during the delay");
    eventually("the port is closed", async || connect(address).await.is_none().then_some(())).await;
    assert_eq!(Some(endpoint_of("chat")), open.finish().await);
    stop.await.unwrap();
}

#[tokio::test]
async fn pool_that_is_gone_is_served_until_gateways_had_time_to_notice() {
    let served = Served::start_with(Duration::from_secs(5)).await;
    served.aggregator.set_pools(&[("chat", PORTS[0], 1), ("code", PORTS[1], 2)]);
    served.wait_served("chat", PORTS[0]).await;
    served.wait_served("code", PORTS[1]).await;
    let (gone, other) = (served.address(PORTS[0]), served.address(PORTS[1]));
    served.aggregator.set_pools(&[("code", PORTS[1], 2)]);
    let not_serving = async || (health(gone, "").await == Some(ServingStatus::NotServing)).then_some(());
    eventually("the port of the pool reports not serving", not_serving).await;
    assert_eq!(Some(endpoint_of("chat")), ask(gone).await, "a new request during the delay");
    assert_eq!(Some(ServingStatus::Serving), health(other, "").await);
    served.wait_closed(PORTS[0]).await;
    served.epp.stop().await;
}

/// The delay is longer than the patience of the test: the port changes hands before it is over.
#[tokio::test]
async fn port_of_a_pool_that_is_gone_is_handed_to_the_pool_that_wants_it() {
    let served = Served::start_with(Duration::from_secs(3_600)).await;
    served.aggregator.set_pools(&[("old", PORTS[0], 1)]);
    served.wait_served("old", PORTS[0]).await;
    served.aggregator.set_pools(&[]);
    let address = served.address(PORTS[0]);
    let not_serving = async || (health(address, "").await == Some(ServingStatus::NotServing)).then_some(());
    eventually("the port of the pool reports not serving", not_serving).await;
    served.aggregator.set_pools(&[("new", PORTS[0], 2)]);
    served.wait_served("new", PORTS[0]).await;
    let page = served.metrics().await;
    assert!(page.contains("signalbox_epp_port_failures_total{pool=\"default/new\"} 0"), "{page}");
}

#[tokio::test]
async fn requests_that_outlast_the_drain_of_their_pool_are_cut() {
    let served = Served::start_with_drain(Duration::ZERO, Duration::from_millis(100)).await;
    served.aggregator.set_pools(&[("chat", PORTS[0], 1), ("code", PORTS[1], 2)]);
    served.wait_served("chat", PORTS[0]).await;
    served.wait_served("code", PORTS[1]).await;
    let start = async |port| OpenRequest::start(connect(served.address(port)).await.unwrap()).await.unwrap();
    let (cut, other) = (start(PORTS[0]).await, start(PORTS[1]).await);
    served.aggregator.set_pools(&[("code", PORTS[1], 2)]);
    cut.fails().await;
    assert_eq!(Some(endpoint_of("code")), other.finish().await);
    served.epp.stop().await;
}
