//! Tests requests that are refused, and unusual ones that are not.

use bytes::Bytes;
use http::{Method, StatusCode};
use signalbox_integration::{CompletionRequest, Response, TestCluster, TestClusterConfig, Upload};

async fn post(cluster: &TestCluster, path: &str, body: &'static str) -> anyhow::Result<Response> {
    cluster.send(Method::POST, path, Bytes::from_static(body.as_bytes()), Upload::Whole).await
}

#[tokio::test]
async fn bad_requests_get_status_400_with_a_reason() {
    let cluster = TestCluster::start(TestClusterConfig { pods: 1, epps: 1, ..TestClusterConfig::default() })
        .await
        .unwrap();
    let cases = [
        ("/v1/completions", "not JSON"),
        ("/v1/completions", ""),
        ("/v1/completions", r#"{"model":"m","prompt":"cut of"#),
        ("/v1/completions", r#"{"prompt":"without a model"}"#),
        ("/v1/chat/completions", r#"{"messages":[{"role":"user","content":"without a model"}]}"#),
        ("/v1/chat/completions", r#"{"model":"m","messages":[{"role":"us"#),
        ("/v1/chat/completions", "[]"),
    ];
    for (path, body) in cases {
        let response = post(&cluster, path, body).await.unwrap();
        assert_eq!(response.status, StatusCode::BAD_REQUEST, "{path} {body}");
        let text = response.text().unwrap();
        assert!(
            text.starts_with("inference error: BadRequest - ") && text.len() > 40,
            "{path} {body}: {text}"
        );
        assert!(response.pod().is_err(), "{path} {body} reached a pod");
    }
    // The connection and the replica still work.
    cluster.complete(&CompletionRequest::small(1)).await.unwrap();
    cluster.wait_for_metric("own_in_flight_requests", |requests| requests == 0.0).await.unwrap();
}

#[tokio::test]
async fn opaque_requests_are_routed_by_load() {
    let cluster = TestCluster::start(TestClusterConfig::default()).await.unwrap();
    let models =
        cluster.send(Method::GET, "/v1/models", Bytes::new(), Upload::Whole).await.unwrap().ok().unwrap();
    cluster.check_served_as_picked(&models).unwrap();
    assert_eq!(models.json().unwrap()["data"][0]["id"], "m");
    // The pod, not the EPP, rejects the unknown path.
    let unknown = post(&cluster, "/v1/unknown", "anything").await.unwrap();
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    cluster.check_served_as_picked(&unknown).unwrap();
}

#[tokio::test]
async fn request_to_a_pool_without_endpoints_waits_for_the_first_one() {
    let cluster = TestCluster::start(TestClusterConfig { pods: 1, epps: 1, ..TestClusterConfig::default() })
        .await
        .unwrap();
    cluster.list_pods(&[]).unwrap();
    cluster.wait_for_candidates("there is no pod", <[_]>::is_empty).await.unwrap();
    let list = async {
        cluster.wait_for_metric("open_streams", |streams| streams == 2.0).await.unwrap();
        cluster.list_pods(&cluster.pods).unwrap();
    };
    let (first, second) = (CompletionRequest::small(1), CompletionRequest::small(2));
    let (first, second, ()) = tokio::join!(cluster.complete(&first), cluster.complete(&second), list);
    assert_eq!([StatusCode::OK; 2], [first.unwrap().status, second.unwrap().status]);
}
