//! Pools come, go and move.

use std::net::TcpListener;

use crate::gateway::{OpenRequest, ask_with_client_headers, connect, eventually, get, health};
use crate::{PORTS, Served, endpoint_of};
use tonic_health::pb::health_check_response::ServingStatus;

/// The booking of such a prompt expires only after ten minutes.
#[tokio::test]
async fn gateway_that_sends_client_headers_and_ends_its_messages_gets_an_answer_and_the_end() {
    let served = Served::start().await;
    served.aggregator.set_pools(&[("chat", PORTS[0], 1)]);
    served.wait_served("chat", PORTS[0]).await;
    let text = "a".repeat(8 << 20);
    let body = format!(r#"{{"model":"llama","messages":[{{"role":"user","content":"{text}"}}]}}"#);
    let picked = ask_with_client_headers(served.address(PORTS[0]), body).await;
    assert_eq!(endpoint_of("chat"), picked);
    let page = served.metrics().await;
    let detached = "signalbox_epp_detached_bookings_total{pool=\"default/chat\"} 1";
    assert!(page.contains(detached), "the booking outlives the stream: {page}");
    served.epp.stop().await;
}

#[tokio::test]
async fn each_pool_is_served_on_its_port_as_it_comes_moves_and_goes() {
    let served = Served::start().await;
    served.aggregator.set_pools(&[("chat", PORTS[0], 1), ("code", PORTS[1], 2)]);
    served.wait_served("chat", PORTS[0]).await;
    served.wait_served("code", PORTS[1]).await;
    assert_eq!(Some(ServingStatus::Serving), health(served.address(PORTS[1]), "").await);

    served.aggregator.set_pools(&[("chat", PORTS[2], 1), ("code", PORTS[1], 2), ("new", PORTS[3], 3)]);
    served.wait_served("new", PORTS[3]).await;
    served.wait_served("chat", PORTS[2]).await;
    served.wait_closed(PORTS[0]).await;

    served.aggregator.set_pools(&[("chat", PORTS[1], 1), ("code", PORTS[2], 2)]);
    served.wait_served("chat", PORTS[1]).await;
    served.wait_served("code", PORTS[2]).await;
    served.wait_closed(PORTS[3]).await;
    let is_gone = async || (!served.metrics().await.contains("default/new")).then_some(());
    eventually("the metrics of the removed pool are gone", is_gone).await;
    served.epp.stop().await;
}

#[tokio::test]
async fn taken_port_affects_only_its_own_pool() {
    let served = Served::start().await;
    let taken = TcpListener::bind(served.address(PORTS[1])).unwrap();
    served.aggregator.set_pools(&[("chat", PORTS[0], 1), ("code", PORTS[1], 2)]);
    served.wait_served("chat", PORTS[0]).await;
    let failures = "signalbox_epp_port_failures_total{pool=\"default/code\"} ";
    let is_counted = async || {
        let page = served.metrics().await;
        let count = page.lines().find_map(|line| line.strip_prefix(failures)).unwrap_or_default();
        count.parse::<u64>().ok().filter(|count| *count > 1)
    };
    eventually("the attempts are counted", is_counted).await;
    drop(taken);
    served.wait_served("code", PORTS[1]).await;
    served.epp.stop().await;
}

#[tokio::test]
async fn older_of_two_pools_with_one_port_keeps_it() {
    let served = Served::start().await;
    served.aggregator.set_pools(&[("old", PORTS[0], 1), ("new", PORTS[0], 2)]);
    served.wait_served("old", PORTS[0]).await;
    served.aggregator.set_pools(&[("new", PORTS[0], 2)]);
    served.wait_served("new", PORTS[0]).await;
    served.epp.stop().await;
}

#[tokio::test]
async fn open_request_outlives_the_port_of_its_pool() {
    let served = Served::start().await;
    served.aggregator.set_pools(&[("chat", PORTS[0], 1)]);
    served.wait_served("chat", PORTS[0]).await;
    let channel = connect(served.address(PORTS[0])).await.unwrap();
    let request = OpenRequest::start(channel).await.unwrap();
    served.aggregator.set_pools(&[]);
    served.wait_closed(PORTS[0]).await;
    assert_eq!(Some(crate::endpoint_of("chat")), request.finish().await);
    served.epp.stop().await;
}

#[tokio::test]
async fn replica_is_ready_when_it_has_heard_which_pools_there_are() {
    let served = Served::start().await;
    let probe = served.epp.health_address();
    assert_eq!(Some(ServingStatus::Serving), health(probe, "liveness").await);
    assert_eq!(Some(ServingStatus::NotServing), health(probe, "readiness").await);
    served.aggregator.set_pools(&[]);
    served.epp.ready().await;
    assert_eq!(Some(ServingStatus::Serving), health(probe, "readiness").await);
    served.epp.stop().await;
}

#[tokio::test]
async fn explanations_name_their_pool_if_there_are_several() {
    let served = Served::start().await;
    let decisions =
        async |query: &str| get(served.epp.metrics_address(), &format!("/decisions{query}")).await;
    let (status, text) = decisions("").await;
    assert!(status.contains("404") && text == "this replica serves no pool yet", "{status} {text}");
    served.aggregator.set_pools(&[("chat", PORTS[0], 1), ("code", PORTS[1], 2)]);
    served.wait_served("chat", PORTS[0]).await;
    served.wait_served("code", PORTS[1]).await;
    let (status, text) = decisions("").await;
    assert!(
        status.contains("400") && text.ends_with("?pool=: default/chat, default/code"),
        "{status} {text}"
    );
    let (status, text) = decisions("?pool=default/cod").await;
    assert!(status.contains("404") && text.contains("default/cod is unknown"), "{status} {text}");
    let (status, text) = decisions("?pool=default/code").await;
    assert!(status.contains("200") && text.contains("pod of default/code"), "{status} {text}");
    assert!(!text.contains("default/chat"), "{text}");
    served.epp.stop().await;
}
