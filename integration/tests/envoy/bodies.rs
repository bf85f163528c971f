//! Tests that request and response bodies of any size pass unchanged through the gateway and the picked pod.

use anyhow::{Context, ensure};
use bytes::Bytes;
use http::Method;
use serde_json::Value;
use signalbox_integration::{
    CompletionRequest, PodConfig, Response, ResponseFormat, TestCluster, TestClusterConfig, Upload,
};
use xxhash_rust::xxh3::xxh3_64;

/// A pod that prefills a prompt of a million tokens in less than a second.
const LARGE_POD: PodConfig = PodConfig { speed: 1_000.0, kv_capacity_tokens: 4_000_000 };

async fn check_bodies(bytes: usize) -> anyhow::Result<()> {
    let cluster =
        TestCluster::start(TestClusterConfig { pod: LARGE_POD, ..TestClusterConfig::default() }).await?;
    for format in [ResponseFormat::Document, ResponseFormat::Events] {
        for upload in [Upload::Whole, Upload::Chunked] {
            let body = CompletionRequest { topic: 7, bytes, max_tokens: None, format }.body();
            let result = check_body(&cluster, "/v1/completions", body, upload, format).await;
            result.with_context(|| format!("{format:?}, {upload:?}"))?;
        }
    }
    Ok(())
}

/// Sends a request through Envoy, and compares the body that the pod received and the response with the
/// expected ones.
async fn check_body(
    cluster: &TestCluster,
    path: &str,
    body: Bytes,
    upload: Upload,
    format: ResponseFormat,
) -> anyhow::Result<()> {
    let response = cluster.send(Method::POST, path, body.clone(), upload).await?.ok()?;
    let pod = cluster.check_served_as_picked(&response)?;
    let (hash, length) =
        (response.header("x-signalbox-body-xxh3")?, response.header("x-signalbox-body-bytes")?);
    ensure!(length == body.len().to_string(), "{length} of {} bytes arrived", body.len());
    ensure!(hash == format!("{:016x}", xxh3_64(&body)), "{length} bytes arrived, but they differ");
    let expected = pod.send(&cluster.client, path, body).await?;
    let (words, expected) = (words(&response, format)?, self::words(&expected, format)?);
    ensure!(!words.is_empty(), "the response has no text");
    // The length of a response is random; its words depend only on the prompt.
    let common = words.len().min(expected.len());
    ensure!(words[..common] == expected[..common], "the response is {words}, not {expected}");
    Ok(())
}

/// Returns the text of a response.
fn words(response: &Response, format: ResponseFormat) -> anyhow::Result<String> {
    let text = |event: &Value| {
        let choice = &event["choices"][0];
        let found = [&choice["text"], &choice["message"]["content"], &choice["delta"]["content"]];
        found.iter().find_map(|text| text.as_str()).unwrap_or_default().to_owned()
    };
    match format {
        ResponseFormat::Document => Ok(text(&response.json()?)),
        ResponseFormat::Events => Ok(response.events()?.iter().map(text).collect()),
    }
}

#[tokio::test]
async fn bodies_of_30_bytes_arrive_unchanged() {
    check_bodies(30).await.unwrap();
}

#[tokio::test]
async fn bodies_of_300_kilobytes_arrive_unchanged() {
    check_bodies(300_000).await.unwrap();
}

#[tokio::test]
async fn bodies_of_4_megabytes_arrive_unchanged() {
    check_bodies(4_000_000).await.unwrap();
}

#[tokio::test]
async fn chat_bodies_arrive_unchanged() {
    let cluster = TestCluster::start(TestClusterConfig { pods: 1, epps: 1, ..TestClusterConfig::default() })
        .await
        .unwrap();
    for (format, stream) in [(ResponseFormat::Document, false), (ResponseFormat::Events, true)] {
        // White space, escapes and unknown fields must be preserved.
        let body = format!(
            "{{ \"messages\": [{{\"role\":\"system\",\"content\":\"Sei kurz \\u00fc\\n\"}},\n\
             {{\"content\":\"Grüße ☃\",\"role\":\"user\"}}], \"model\":\"m\", \"x\": 1e2 , \"stream\":{stream}}}\n"
        );
        check_body(&cluster, "/v1/chat/completions", body.into(), Upload::Chunked, format).await.unwrap();
    }
}
