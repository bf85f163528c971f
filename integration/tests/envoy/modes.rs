//! Gateways that hide responses, or their end.

use anyhow::ensure;
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use signalbox_integration::{Ask, Delivery, PodConfig, ResponseMode, Site, SiteConfig, Upload, eventually};

/// As slow as a real pod: its answer outlasts what the test looks at meanwhile.
const SLOW: PodConfig = PodConfig { speed: 1.0, kv_capacity_tokens: 524_288 };

fn of(mode: ResponseMode) -> SiteConfig {
    SiteConfig { pods: 2, pod: SLOW, epps: 1, mode, ..SiteConfig::default() }
}

/// Seconds long.
fn lasting() -> Ask {
    Ask { topic: 1, bytes: 300, max_tokens: Some(1_000), delivery: Delivery::Events }
}

/// Sends a request; while its answer is on its way, waits until the replica has so many streams and one booking. Then
/// reads the answer, all of it, and waits until the booking is gone.
async fn booked_with(site: &Site, streams: f64) -> anyhow::Result<()> {
    let (epp, client) = (&site.epps[0], &site.client);
    let url = format!("{}/v1/completions", site.envoy().url());
    let response = client.begin(Method::POST, &url, lasting().body(), Upload::Whole).await?;
    ensure!(response.status() == StatusCode::OK, "{}", response.status());
    let booked = async || {
        let (open, own) =
            (epp.metric(client, "streams").await?, epp.metric(client, "own_in_flight_requests").await?);
        ensure!(open == streams && own == 1.0, "{open} streams, {own} bookings");
        Ok(())
    };
    eventually("the request is booked while its answer is on its way", booked).await?;
    let answer = response.into_body().collect().await?.to_bytes();
    ensure!(answer.ends_with(b"data: [DONE]\n\n"), "the answer was cut");
    site.metric_is("own_in_flight_requests", |requests| requests == 0.0).await
}

#[tokio::test]
async fn bookings_are_held_where_the_end_of_the_response_is_hidden() {
    let site = Site::start(of(ResponseMode::HeadersAlone)).await.unwrap();
    booked_with(&site, 0.0).await.unwrap();
    site.metric_is("bookings_held_total", |held| held == 1.0).await.unwrap();
}

#[tokio::test]
async fn bookings_last_as_long_as_the_response_where_only_its_body_is_hidden() {
    let site = Site::start(of(ResponseMode::HeadersAndEnd)).await.unwrap();
    booked_with(&site, 1.0).await.unwrap();
}

#[tokio::test]
async fn bookings_last_as_long_as_the_response_where_all_of_it_is_seen() {
    let site = Site::start(of(ResponseMode::FullDuplex)).await.unwrap();
    booked_with(&site, 1.0).await.unwrap();
    site.metric_is("bookings_held_total", |held| held == 0.0).await.unwrap();
}
