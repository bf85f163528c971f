//! Tests requests that are refused, and unusual ones that are not.

use anyhow::ensure;
use bytes::Bytes;
use http::{Method, StatusCode};
use signalbox_integration::{
    CompletionRequest, Response, TestCluster, TestClusterConfig, Upload, eventually,
};

async fn post(cluster: &TestCluster, path: &str, body: &'static str) -> anyhow::Result<Response> {
    cluster.send(Method::POST, path, Bytes::from_static(body.as_bytes()), Upload::Whole).await
}

/// Returns the error in a response that says it is JSON.
fn error_of(response: &Response) -> serde_json::Value {
    assert_eq!("application/json", response.headers["content-type"]);
    let body: serde_json::Value = response.json().expect("the body is JSON, as its content type says");
    body["error"].clone()
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
        ("/v1/completions", r#"{"model":7,"prompt":"a model that is no name"}"#),
        ("/v1/chat/completions", r#"{"model":"m","messages":[{"role":"us"#),
        ("/v1/chat/completions", "[]"),
    ];
    for (path, body) in cases {
        let response = post(&cluster, path, body).await.unwrap();
        assert_eq!(response.status, StatusCode::BAD_REQUEST, "{path} {body}");
        let error = error_of(&response);
        assert_eq!(
            ("BadRequest", "invalid_request_error"),
            (error["code"].as_str().unwrap(), error["type"].as_str().unwrap())
        );
        assert!(error["message"].as_str().unwrap().len() > 20, "{path} {body}: {error}");
        assert!(response.pod().is_err(), "{path} {body} reached a pod");
    }
    // The connection and the replica still work.
    cluster.complete(&CompletionRequest::small(1)).await.unwrap();
    cluster.wait_for_metric("own_in_flight_requests", |requests| requests == 0.0).await.unwrap();
}

#[tokio::test]
async fn requests_without_a_model_are_routed() {
    let cluster = TestCluster::start(TestClusterConfig { pods: 1, epps: 1, ..TestClusterConfig::default() })
        .await
        .unwrap();
    let bodies = [
        ("/v1/completions", r#"{"prompt":"without a model"}"#),
        ("/v1/chat/completions", r#"{"messages":[{"role":"user","content":"without a model"}]}"#),
    ];
    for (path, body) in bodies {
        let response = post(&cluster, path, body).await.unwrap();
        assert_eq!(response.status, StatusCode::OK, "{path} {body}");
        cluster.check_served_as_picked(&response).unwrap();
    }
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
async fn pool_without_endpoints_refuses_with_503_until_it_has_some_if_no_request_waits() {
    let epp_flags = &["--flow-control", "off"];
    let config = TestClusterConfig { pods: 1, epp_flags, ..TestClusterConfig::default() };
    let cluster = TestCluster::start(config).await.unwrap();
    cluster.list_pods(&[]).unwrap();
    cluster.wait_for_candidates("there is no pod", <[_]>::is_empty).await.unwrap();
    let refused = cluster
        .send(Method::POST, "/v1/completions", CompletionRequest::small(1).body(), Upload::Whole)
        .await
        .unwrap();
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!("ServiceUnavailable", error_of(&refused)["code"], "{refused:?}");
    let refused = cluster.send(Method::GET, "/v1/models", Bytes::new(), Upload::Whole).await.unwrap();
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    cluster.list_pods(&cluster.pods).unwrap();
    let served = async || {
        let response = cluster.complete(&CompletionRequest::small(2)).await?;
        ensure!(response.status == StatusCode::OK);
        Ok(())
    };
    eventually("the pool serves requests again", served).await.unwrap();
}
