//! The endpoints below `/v1/responses`.

use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use signalbox_modelsim::ModelConfig;

use crate::client::{get, json, pod, post, send, text};

const PATH: &str = "/v1/responses";

#[tokio::test]
async fn response_continues_an_earlier_one() {
    let pod = pod(ModelConfig::default()).await;
    let body = json!({"model": "llama3-8b", "instructions": "Be brief.", "input": "x".repeat(6_400), "max_output_tokens": 5});
    let first = json(post(pod.address(), PATH, &body).await).await;
    assert_eq!((&first["object"], &first["status"]), (&json!("response"), &json!("incomplete")));
    let text = first["output"][0]["content"][0]["text"].as_str().unwrap();
    assert_eq!(20, text.len());
    let parts = json!([{"role": "user", "content": [{"type": "input_text", "text": "and then?"}]}]);
    let next = json!({"input": parts, "previous_response_id": first["id"], "max_output_tokens": 5});
    let second = json(post(pod.address(), PATH, &next).await).await;
    assert_eq!(first["id"], second["previous_response_id"]);
    let input = |response: &Value| response["usage"]["input_tokens"].as_u64().unwrap();
    assert!(input(&second) > input(&first), "{second}");
    let cached = second["usage"]["input_tokens_details"]["cached_tokens"].as_u64().unwrap();
    assert!(cached > 1_500, "{second}");
}

#[tokio::test]
async fn only_the_pod_that_made_a_response_has_it_until_it_is_deleted() {
    let (pod, other) = (pod(ModelConfig::default()).await, pod(ModelConfig::default()).await);
    let body = json!({"model": "llama3-8b", "input": "hello", "max_output_tokens": 3});
    let made = json(post(pod.address(), PATH, &body).await).await;
    let path = format!("{PATH}/{}", made["id"].as_str().unwrap());
    assert_eq!(made, json(get(pod.address(), &path).await).await);
    assert_eq!(StatusCode::NOT_FOUND, get(other.address(), &path).await.status());
    let next = json!({"model": "llama3-8b", "input": "and?", "previous_response_id": made["id"]});
    let refused = post(other.address(), PATH, &next).await;
    assert_eq!(StatusCode::NOT_FOUND, refused.status());
    assert!(json(refused).await["error"]["message"].as_str().unwrap().contains("not found"));
    let deleted = json(send(pod.address(), Method::DELETE, &path, "").await).await;
    assert_eq!(json!({"id": made["id"], "object": "response", "deleted": true}), deleted);
    assert_eq!(StatusCode::NOT_FOUND, get(pod.address(), &path).await.status());
    assert_eq!(StatusCode::NOT_FOUND, send(pod.address(), Method::DELETE, &path, "").await.status());
}

#[tokio::test]
async fn streamed_response_begins_with_its_id_and_ends_with_the_whole_response() {
    let pod = pod(ModelConfig::default()).await;
    let body = json!({"model": "llama3-8b", "input": "hello", "max_output_tokens": 9, "stream": true, "store": false});
    let stream = text(post(pod.address(), PATH, &body).await).await;
    let events: Vec<Value> = stream
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .map(|data| serde_json::from_str(data).unwrap())
        .collect();
    let (first, last) = (&events[0], events.last().unwrap());
    assert_eq!(
        ("response.created", "response.completed"),
        (first["type"].as_str().unwrap(), last["type"].as_str().unwrap())
    );
    assert_eq!(first["response"]["id"], last["response"]["id"]);
    let deltas: String = events.iter().filter_map(|event| event["delta"].as_str()).collect();
    assert_eq!(last["response"]["output"][0]["content"][0]["text"], deltas);
    let path = format!("{PATH}/{}", first["response"]["id"].as_str().unwrap());
    assert_eq!(StatusCode::NOT_FOUND, get(pod.address(), &path).await.status(), "it is not stored");
}
