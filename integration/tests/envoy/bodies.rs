//! Bodies of any size arrive unchanged, both ways, at the pod that was picked.

use anyhow::{Context, ensure};
use bytes::Bytes;
use http::Method;
use serde_json::Value;
use signalbox_integration::{Answer, Ask, Delivery, PodConfig, Site, SiteConfig, Upload};
use xxhash_rust::xxh3::xxh3_64;

/// A pod that a prompt of a million tokens fits into, and that reads it in less than a second.
const ROOMY: PodConfig = PodConfig { speed: 1_000.0, kv_capacity_tokens: 4_000_000 };

async fn bodies_arrive_unchanged(bytes: usize) -> anyhow::Result<()> {
    let site = Site::start(SiteConfig { pod: ROOMY, ..SiteConfig::default() }).await?;
    for delivery in [Delivery::Whole, Delivery::Events] {
        for upload in [Upload::Whole, Upload::Chunked] {
            let body = Ask { topic: 7, bytes, max_tokens: None, delivery }.body();
            let passed = passes(&site, "/v1/completions", body, upload, delivery).await;
            passed.with_context(|| format!("{delivery:?}, {upload:?}"))?;
        }
    }
    Ok(())
}

/// Sends a request through Envoy and compares what arrives at either end with what was sent.
async fn passes(
    site: &Site,
    path: &str,
    body: Bytes,
    upload: Upload,
    delivery: Delivery,
) -> anyhow::Result<()> {
    let answer = site.send(Method::POST, path, body.clone(), upload).await?.ok()?;
    let pod = site.served_as_picked(&answer)?;
    let (hash, length) = (answer.header("x-signalbox-body-xxh3")?, answer.header("x-signalbox-body-bytes")?);
    ensure!(length == body.len().to_string(), "{length} of {} bytes arrived", body.len());
    ensure!(hash == format!("{:016x}", xxh3_64(&body)), "{length} bytes arrived, but other ones");
    let expected = pod.ask(&site.client, path, body).await?;
    let (words, expected) = (words(&answer, delivery)?, self::words(&expected, delivery)?);
    ensure!(!words.is_empty(), "no words came back");
    // How long an answer is may differ from one to the next; the words of a prompt do not.
    let common = words.len().min(expected.len());
    ensure!(words[..common] == expected[..common], "{words} came back, not {expected}");
    Ok(())
}

/// All words of an answer.
fn words(answer: &Answer, delivery: Delivery) -> anyhow::Result<String> {
    let text = |event: &Value| {
        let choice = &event["choices"][0];
        let found = [&choice["text"], &choice["message"]["content"], &choice["delta"]["content"]];
        found.iter().find_map(|text| text.as_str()).unwrap_or_default().to_owned()
    };
    match delivery {
        Delivery::Whole => Ok(text(&answer.json()?)),
        Delivery::Events => Ok(answer.events()?.iter().map(text).collect()),
    }
}

#[tokio::test]
async fn bodies_of_30_bytes_arrive_unchanged() {
    bodies_arrive_unchanged(30).await.unwrap();
}

#[tokio::test]
async fn bodies_of_300_kilobytes_arrive_unchanged() {
    bodies_arrive_unchanged(300_000).await.unwrap();
}

#[tokio::test]
async fn bodies_of_4_megabytes_arrive_unchanged() {
    bodies_arrive_unchanged(4_000_000).await.unwrap();
}

#[tokio::test]
async fn chats_arrive_unchanged() {
    let site = Site::start(SiteConfig { pods: 1, epps: 1, ..SiteConfig::default() }).await.unwrap();
    for (delivery, stream) in [(Delivery::Whole, false), (Delivery::Events, true)] {
        // White space, escapes and fields that nobody knows must all survive.
        let body = format!(
            "{{ \"messages\": [{{\"role\":\"system\",\"content\":\"Sei kurz \\u00fc\\n\"}},\n\
             {{\"content\":\"Grüße ☃\",\"role\":\"user\"}}], \"model\":\"m\", \"x\": 1e2 , \"stream\":{stream}}}\n"
        );
        passes(&site, "/v1/chat/completions", body.into(), Upload::Chunked, delivery).await.unwrap();
    }
}
