//! The contract with gateways, through a real one: every way in which bodies travel, and clients that go away.

use std::pin::pin;
use std::task::Poll;

use anyhow::ensure;
use bytes::Bytes;
use futures_util::future::{join_all, poll_fn, try_join_all};
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value;
use signalbox_integration::{
    Ask, Delivery, PodConfig, RequestMode, ResponseMode, Site, SiteConfig, Upload, eventually,
};

const COMPLETIONS: &str = "/v1/completions";

/// As slow as a real pod.
const SLOW: PodConfig = PodConfig { speed: 1.0, kv_capacity_tokens: 524_288 };

async fn nothing_is_left(site: &Site) -> anyhow::Result<()> {
    for gauge in ["own_in_flight_requests", "streams", "buffered_bytes"] {
        site.metric_is(gauge, |value| value == 0.0).await?;
    }
    Ok(())
}

/// A request is served where it was picked for, and prompts are known as far as the mode shows them.
async fn is_served(request: RequestMode, mode: ResponseMode) -> anyhow::Result<()> {
    let site = Site::start(SiteConfig { request, mode, ..SiteConfig::default() }).await?;
    for delivery in [Delivery::Whole, Delivery::Events] {
        let ask = Ask { topic: 1, bytes: 20_000, max_tokens: Some(4), delivery };
        site.ask(&ask).await?;
    }
    let seen = site.epps[0].metric(&site.client, "prompt_tokens_total").await?
        + site.epps[1].metric(&site.client, "prompt_tokens_total").await?;
    let is_read = matches!(request, RequestMode::FullDuplex | RequestMode::Buffered);
    ensure!(is_read == (seen > 0.0), "{request:?}: {seen} tokens of prompts were seen");
    nothing_is_left(&site).await
}

#[tokio::test]
async fn requests_are_served_whose_bodies_are_buffered() {
    is_served(RequestMode::Buffered, ResponseMode::Buffered).await.unwrap();
}

#[tokio::test]
async fn requests_are_served_whose_bodies_are_streamed() {
    is_served(RequestMode::Streamed, ResponseMode::Streamed).await.unwrap();
}

#[tokio::test]
async fn requests_are_served_whose_bodies_are_hidden() {
    is_served(RequestMode::Hidden, ResponseMode::FullDuplex).await.unwrap();
}

/// So slow that two tokens are 32 s apart: longer than a gateway and a replica wait for a sign of life of each other.
const ASLEEP: PodConfig = PodConfig { speed: 1.0 / 5_000.0, kv_capacity_tokens: 524_288 };

#[tokio::test]
async fn a_response_may_be_silent_for_long() {
    let site = Site::start(SiteConfig { pods: 1, pod: ASLEEP, ..SiteConfig::default() }).await.unwrap();
    let ask = Ask { bytes: 0, max_tokens: Some(2), delivery: Delivery::Events, ..Ask::small(1) };
    let answer = site.send(Method::POST, COMPLETIONS, ask.body(), Upload::Whole).await.unwrap().ok().unwrap();
    assert!(!answer.events().unwrap().is_empty());
    nothing_is_left(&site).await.unwrap();
}

#[tokio::test]
async fn requests_with_trailers_are_served() {
    let site = Site::start(SiteConfig::default()).await.unwrap();
    for bytes in [300, 200_000] {
        let body = Ask { bytes, ..Ask::small(1) }.body();
        let answer =
            site.send(Method::POST, COMPLETIONS, body.clone(), Upload::Trailers).await.unwrap().ok().unwrap();
        site.served_as_picked(&answer).unwrap();
        assert_eq!(body.len().to_string(), answer.header("x-signalbox-body-bytes").unwrap());
    }
    nothing_is_left(&site).await.unwrap();
}

/// The client asks for one model, another one serves it, and the client reads the name that it knows.
async fn is_rewritten(request: RequestMode, mode: ResponseMode) -> anyhow::Result<()> {
    let site = Site::start(SiteConfig { request, mode, ..SiteConfig::default() }).await?;
    for (stream, prompt) in [(false, 8), (true, 8), (true, 20_000)] {
        let prompt = "x".repeat(prompt);
        let body = format!(
            r#"{{"model":"asked for","prompt":"{prompt}","stream":{stream},"seed":9007199254740993}}"#
        );
        let headers = [("x-llm-d-model-name-rewrite", "m")];
        let answer = site.send_with(COMPLETIONS, &headers, (Bytes::from(body), Upload::Whole)).await?.ok()?;
        let models: Vec<Value> = match stream {
            false => vec![answer.json()?["model"].clone()],
            true => answer.events()?.iter().map(|event| event["model"].clone()).collect(),
        };
        ensure!(!models.is_empty() && models.iter().all(|model| model == "asked for"), "{models:?}");
    }
    nothing_is_left(&site).await
}

#[tokio::test]
async fn models_are_rewritten_and_put_back_in_full_duplex() {
    is_rewritten(RequestMode::FullDuplex, ResponseMode::FullDuplex).await.unwrap();
}

#[tokio::test]
async fn models_are_put_back_where_responses_are_streamed() {
    is_rewritten(RequestMode::FullDuplex, ResponseMode::Streamed).await.unwrap();
}

#[tokio::test]
async fn models_are_rewritten_and_put_back_where_bodies_are_buffered() {
    is_rewritten(RequestMode::Buffered, ResponseMode::Buffered).await.unwrap();
}

const REWRITE: &str = "---
apiVersion: llm-d.ai/v1alpha2
kind: InferenceModelRewrite
metadata: { name: public }
spec:
  poolRef: { name: llama3 }
  rules:
  - matches: [{ model: { value: public } }]
    targets: [{ modelRewrite: m }]
";

#[tokio::test]
async fn a_rewrite_in_the_endpoints_file_holds_at_every_replica() {
    let site = Site::start(SiteConfig::default()).await.unwrap();
    site.say(REWRITE).unwrap();
    let body = Bytes::from_static(br#"{"model":"public","prompt":"hello"}"#);
    let mut in_a_row = 0;
    let holds = async || {
        let answer = site.send(Method::POST, COMPLETIONS, body.clone(), Upload::Whole).await?;
        in_a_row = if answer.status == StatusCode::OK { in_a_row + 1 } else { 0 };
        // Envoy asks the two replicas in turn.
        ensure!(in_a_row > 8, "{}", answer.status);
        ensure!(answer.json()?["model"] == "public", "{answer:?}");
        Ok(())
    };
    eventually("the rewrite is known everywhere", holds).await.unwrap();
}

#[tokio::test]
async fn no_header_that_steers_reaches_a_pod_and_the_id_does() {
    let site = Site::start(SiteConfig { pods: 1, epps: 1, ..SiteConfig::default() }).await.unwrap();
    let headers = [
        ("x-prefiller-host-port", "6.6.6.6:80"),
        ("x-gateway-destination-endpoint", "6.6.6.6:80"),
        ("x-llm-d-slo-ttft-ms", "1e300"),
        ("x-harmless", "1"),
    ];
    let body = Ask::small(1).body();
    let answer = site.send_with(COMPLETIONS, &headers, (body, Upload::Whole)).await.unwrap().ok().unwrap();
    site.served_as_picked(&answer).unwrap();
    let received = answer.header("x-signalbox-request-headers").unwrap();
    assert!(!received.contains("x-prefiller") && !received.contains("x-llm-d"), "{received}");
    assert!(received.contains("x-harmless") && received.contains("x-request-id"), "{received}");
    site.metric_is("ignored_controls_total", |ignored| ignored == 1.0).await.unwrap();
}

#[tokio::test]
async fn clients_that_go_away_leave_nothing_behind() {
    let site =
        Site::start(SiteConfig { pods: 2, pod: SLOW, epps: 1, ..SiteConfig::default() }).await.unwrap();
    let url = format!("{}{COMPLETIONS}", site.envoy().url());
    let streams = |count: f64| site.metric_is("streams", move |streams| streams == count);
    let ask = Ask { topic: 1, bytes: 60_000, max_tokens: Some(1_000), delivery: Delivery::Events };
    {
        let mut stalled = pin!(site.client.begin(Method::POST, &url, ask.body(), Upload::Stalling));
        let is_there = streams(1.0);
        let mut is_there = pin!(is_there);
        // The request goes on while the replica is looked at.
        let seen = poll_fn(|context| {
            assert!(stalled.as_mut().poll(context).is_pending(), "a request that is not whole is answered");
            is_there.as_mut().poll(context)
        });
        seen.await.unwrap();
    }
    nothing_is_left(&site).await.unwrap();
    let response = site.client.begin(Method::POST, &url, ask.body(), Upload::Whole).await.unwrap();
    let mut body = response.into_body();
    body.frame().await.unwrap().unwrap();
    site.metric_is("own_in_flight_requests", |booked| booked == 1.0).await.unwrap();
    drop(body);
    nothing_is_left(&site).await.unwrap();
}

/// Sends a request and goes away, after so many looks at whether it is answered.
async fn abort(site: &Site, looks: u32) {
    let url = format!("{}{COMPLETIONS}", site.envoy().url());
    let ask = Ask { topic: looks.into(), bytes: 2_000, max_tokens: Some(200), delivery: Delivery::Events };
    let mut sent = pin!(site.client.begin(Method::POST, &url, ask.body(), Upload::Whole));
    let mut left = looks;
    poll_fn(|context| {
        left = left.saturating_sub(1);
        if left == 0 || sent.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[tokio::test]
async fn a_thousand_aborted_requests_harm_nobody_else() {
    let site = Site::start(SiteConfig { pod: SLOW, epps: 1, ..SiteConfig::default() }).await.unwrap();
    let long = Ask { topic: 7, bytes: 2_000, max_tokens: Some(300), delivery: Delivery::Events };
    let others = async { try_join_all((0..8).map(|_| site.ask(&long))).await };
    let aborted = join_all((0..1_000).map(|number| abort(&site, number % 50 + 1)));
    let (others, _) = tokio::join!(others, aborted);
    for answer in others.unwrap() {
        assert_eq!(StatusCode::OK, answer.status);
        assert!(answer.body.ends_with(b"data: [DONE]\n\n"));
    }
    nothing_is_left(&site).await.unwrap();
    let lives = async || {
        ensure!(site.ask(&Ask::small(2)).await?.status == StatusCode::OK);
        Ok(())
    };
    eventually("the replica lives", lives).await.unwrap();
}

#[tokio::test]
async fn dashboards_find_the_names_that_they_know() {
    let site = Site::start(SiteConfig { pods: 2, epps: 1, ..SiteConfig::default() }).await.unwrap();
    let body = br#"{"model":"asked for","prompt":"x","stream":true,"stream_options":{"include_usage":true}}"#;
    let headers = [("x-llm-d-model-name-rewrite", "m")];
    let sent = (Bytes::from_static(body), Upload::Whole);
    site.send_with(COMPLETIONS, &headers, sent).await.unwrap().ok().unwrap();
    nothing_is_left(&site).await.unwrap();
    let shown = async || {
        let page = site.epps[0].page(&site.client).await?;
        for (name, value) in [
            ("llm_d_epp_request_total", 1.0),
            ("inference_objective_request_total", 1.0),
            ("llm_d_epp_request_ttft_seconds_count", 1.0),
            ("llm_d_epp_request_input_tokens_count", 1.0),
            ("llm_d_epp_ready_endpoints", 2.0),
            ("inference_pool_ready_pods", 2.0),
            ("llm_d_epp_average_queue_size", 0.0),
        ] {
            ensure!(page.sum(name) == Some(value), "{name} is {:?}", page.sum(name));
        }
        let by_model = page.by_label("llm_d_epp_request_total", "target_model_name");
        ensure!(by_model == [("m".to_owned(), 1.0)].into(), "{by_model:?}");
        let by_pool = page.by_label("llm_d_epp_ready_endpoints", "name");
        ensure!(by_pool == [("llama3".to_owned(), 2.0)].into(), "{by_pool:?}");
        let by_endpoint = page.by_label("llm_d_epp_per_endpoint_queue_size", "model_server_endpoint");
        ensure!(by_endpoint.len() == 2, "{by_endpoint:?}");
        Ok(())
    };
    eventually("the page has them", shown).await.unwrap();
}
