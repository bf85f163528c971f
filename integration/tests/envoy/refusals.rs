//! Requests that cannot be served, and those that only look like it.

use anyhow::ensure;
use bytes::Bytes;
use http::{Method, StatusCode};
use signalbox_integration::{Answer, Ask, Site, SiteConfig, Upload, eventually};

async fn post(site: &Site, path: &str, body: &'static str) -> anyhow::Result<Answer> {
    site.send(Method::POST, path, Bytes::from_static(body.as_bytes()), Upload::Whole).await
}

#[tokio::test]
async fn bad_requests_are_answered_with_400_and_a_reason() {
    let site = Site::start(SiteConfig { pods: 1, epps: 1, ..SiteConfig::default() }).await.unwrap();
    let cases = [
        ("/v1/completions", "this is no JSON"),
        ("/v1/completions", ""),
        ("/v1/completions", r#"{"model":"m","prompt":"cut of"#),
        ("/v1/completions", r#"{"prompt":"without a model"}"#),
        ("/v1/chat/completions", r#"{"messages":[{"role":"user","content":"without a model"}]}"#),
        ("/v1/chat/completions", r#"{"model":"m","messages":[{"role":"us"#),
        ("/v1/chat/completions", "[]"),
    ];
    for (path, body) in cases {
        let answer = post(&site, path, body).await.unwrap();
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path} {body}");
        let text = answer.text().unwrap();
        assert!(
            text.starts_with("inference error: BadRequest - ") && text.len() > 40,
            "{path} {body}: {text}"
        );
        assert!(answer.pod().is_err(), "{path} {body} reached a pod");
    }
    // The connection, the stream and the replica are as good as before.
    site.ask(&Ask::small(1)).await.unwrap();
    site.metric_is("own_in_flight_requests", |requests| requests == 0.0).await.unwrap();
}

#[tokio::test]
async fn what_is_no_completion_is_routed_by_load() {
    let site = Site::start(SiteConfig::default()).await.unwrap();
    let models =
        site.send(Method::GET, "/v1/models", Bytes::new(), Upload::Whole).await.unwrap().ok().unwrap();
    site.served_as_picked(&models).unwrap();
    assert_eq!(models.json().unwrap()["data"][0]["id"], "m");
    // Nobody but the pod knows what is at this path, and says so.
    let unknown = post(&site, "/v1/unknown", "whatever").await.unwrap();
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    site.served_as_picked(&unknown).unwrap();
}

#[tokio::test]
async fn a_pool_without_endpoints_answers_503_until_it_has_some() {
    let site = Site::start(SiteConfig { pods: 1, ..SiteConfig::default() }).await.unwrap();
    site.list_pods(&[]).unwrap();
    site.sees("there is no pod", <[_]>::is_empty).await.unwrap();
    let refused =
        site.send(Method::POST, "/v1/completions", Ask::small(1).body(), Upload::Whole).await.unwrap();
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.text().unwrap().starts_with("inference error: ServiceUnavailable - "), "{refused:?}");
    let refused = site.send(Method::GET, "/v1/models", Bytes::new(), Upload::Whole).await.unwrap();
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    site.list_pods(&site.pods).unwrap();
    let served = async || {
        let answer = site.ask(&Ask::small(2)).await?;
        ensure!(answer.status == StatusCode::OK);
        Ok(())
    };
    eventually("the pool is back", served).await.unwrap();
}
