//! Gateways that leave responses off ext-proc: the ends of requests are learnt from the access log.

use anyhow::{Context, ensure};
use futures_util::future::{join, join_all, try_join_all};
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use signalbox_integration::{Ask, Delivery, PodConfig, ResponseMode, Site, SiteConfig, Upload, eventually};

/// As slow as a real pod: its answers outlast what the tests look at meanwhile.
const SLOW: PodConfig = PodConfig { speed: 1.0, kv_capacity_tokens: 524_288 };

const REQUESTS: u64 = 24;

fn of(mode: ResponseMode) -> SiteConfig {
    SiteConfig { pods: 2, pod: SLOW, mode, ..SiteConfig::default() }
}

fn streamed(topic: u64, tokens: u32) -> Ask {
    Ask { topic, bytes: 300, max_tokens: Some(tokens), delivery: Delivery::Events }
}

/// The sum of a metric over all replicas.
async fn sum(site: &Site, name: &str) -> anyhow::Result<f64> {
    let of_each = join_all(site.epps.iter().map(|epp| epp.metric(&site.client, name))).await;
    of_each.into_iter().sum()
}

/// Waits until there are so many streams and so many bookings at all replicas together.
async fn holds(site: &Site, streams: f64, bookings: f64) -> anyhow::Result<()> {
    let check = async || {
        let (open, own) = (sum(site, "streams").await?, sum(site, "own_in_flight_requests").await?);
        ensure!(open == streams && own == bookings, "{open} streams, {own} bookings");
        Ok(())
    };
    eventually(&format!("{streams} streams, {bookings} bookings"), check).await
}

/// Waits until there is an end of so many requests, and nothing of them is left.
async fn are_over(site: &Site, requests: u64) -> anyhow::Result<()> {
    let check = async || {
        let ended = sum(site, "bookings_held_total").await?;
        ensure!(ended == requests as f64, "{ended} bookings were held");
        Ok(())
    };
    eventually("all bookings outlast their streams", check).await?;
    holds(site, 0.0, 0.0).await?;
    let expired = sum(site, "bookings_expired_total").await?;
    let timed = sum(site, "logged_first_byte_seconds_count").await?;
    ensure!(expired == 0.0 && timed == requests as f64, "{expired} ends were not told, {timed} were");
    Ok(())
}

/// An answer that takes seconds is booked until it is over, though no stream is there; its end is learnt at whichever replica.
async fn ends_are_learnt(mode: ResponseMode) -> anyhow::Result<()> {
    let site = Site::start(of(mode)).await?;
    // It is not known yet that ends are told: the booking might go before its time.
    site.ask(&streamed(0, 3)).await?;
    are_over(&site, 1).await?;
    let url = format!("{}/v1/completions", site.envoy().url());
    let response = site.client.begin(Method::POST, &url, streamed(1, 1_000).body(), Upload::Whole).await?;
    ensure!(response.status() == StatusCode::OK, "{}", response.status());
    holds(&site, 0.0, 1.0).await?;
    let answer = response.into_body().collect().await?.to_bytes();
    ensure!(answer.ends_with(b"data: [DONE]\n\n"), "the answer was cut");
    are_over(&site, 2).await?;
    try_join_all((2..REQUESTS).map(|topic| {
        let site = &site;
        async move { site.ask(&streamed(topic, 20)).await }
    }))
    .await?;
    are_over(&site, REQUESTS).await?;
    // Each of Envoy's workers sends its log to one of the replicas, and requests to all.
    let passed_on = sum(&site, "access_log_entries_total").await? - REQUESTS as f64;
    ensure!(passed_on > 0.0, "every end was learnt by the replica that had booked");
    Ok(())
}

#[tokio::test]
async fn ends_are_learnt_where_nothing_of_the_response_is_shown() {
    ends_are_learnt(ResponseMode::Logged).await.unwrap();
}

#[tokio::test]
async fn ends_are_learnt_where_the_headers_are_shown() {
    ends_are_learnt(ResponseMode::HeadersLogged).await.unwrap();
}

#[tokio::test]
async fn a_killed_replica_breaks_no_response() {
    let mut site = Site::start(of(ResponseMode::Logged)).await.unwrap();
    let mut victim = site.epps.remove(0);
    let answers = join_all((0..REQUESTS).map(|topic| {
        let site = &site;
        async move { site.ask(&streamed(topic, 500)).await }
    }));
    let kill = async {
        let booked = async || {
            let own = victim.metric(&site.client, "own_in_flight_requests").await?;
            let all = own + sum(&site, "own_in_flight_requests").await?;
            ensure!(own > 0.0 && all == REQUESTS as f64, "{own} of {all}");
            ensure!(victim.metric(&site.client, "streams").await? == 0.0, "a request is being picked for");
            Ok(())
        };
        eventually("all requests are on their way", booked).await.unwrap();
        victim.kill().unwrap();
    };
    for answer in join(answers, kill).await.0 {
        assert!(answer.unwrap().text().unwrap().ends_with("data: [DONE]\n\n"));
    }
    holds(&site, 0.0, 0.0).await.unwrap();
}

#[tokio::test]
async fn failures_are_learnt_from_the_log() {
    let site =
        Site::start(SiteConfig { pod: PodConfig::default(), ..of(ResponseMode::Logged) }).await.unwrap();
    let bad = &site.pods[0];
    bad.fail(&site.client).await.unwrap();
    let mut topics = 0..;
    let learn = async || {
        // Some fail until the replicas know.
        let body = Ask::small(topics.next().context("no topic is left")?).body();
        site.send(Method::POST, "/v1/completions", body, Upload::Whole).await?;
        let explanation = site.epps[0].explain(&site.client, Ask::small(0).body()).await?;
        let mut candidates = explanation["candidates"].as_array().into_iter().flatten();
        let known = candidates.any(|one| one["endpoint"] == bad.name() && one["tier"] == "failing");
        ensure!(known, "{explanation}");
        Ok(())
    };
    eventually("a replica knows that it fails", learn).await.unwrap();
}
