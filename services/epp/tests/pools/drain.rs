//! A replica that is asked to stop.

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
