//! Tests that requests which name an earlier response go to the pod that keeps it, whichever replica routes them.

use anyhow::{Context, bail, ensure};
use http::Method;
use serde_json::{Value, json};
use signalbox_integration::{Epp, Response, TestCluster, TestClusterConfig, Upload, eventually};

const PATH: &str = "/v1/responses";

/// Sends a request through Envoy; returns the response, and the name of the pod that served it.
async fn send(
    cluster: &TestCluster,
    method: Method,
    path: &str,
    body: Option<Value>,
) -> anyhow::Result<(Response, String)> {
    let body = body.map(|body| body.to_string()).unwrap_or_default();
    let response = cluster.send(method, path, body.into(), Upload::Whole).await?;
    let pod = cluster.check_served_as_picked(&response)?.name().to_owned();
    Ok((response, pod))
}

/// Returns a request with these members besides the usual ones.
fn request(input: &str, more: &Value) -> Option<Value> {
    let mut body = json!({ "model": "m", "input": input, "max_output_tokens": 4 });
    if let Some((body, more)) = body.as_object_mut().zip(more.as_object()) {
        body.extend(more.clone());
    }
    Some(body)
}

/// Starts a response; returns its id and its pod.
async fn begin(cluster: &TestCluster, is_streamed: bool) -> anyhow::Result<(String, String)> {
    let body = request("Tell me about the sea.", &json!({ "stream": is_streamed }));
    let (response, pod) = send(cluster, Method::POST, PATH, body).await?;
    let response = response.ok()?;
    let id = if is_streamed {
        let created =
            response.text()?.lines().find_map(|line| line.strip_prefix("data: ")).context("no event")?;
        serde_json::from_str::<Value>(created)?["response"]["id"].as_str().map(str::to_owned)
    } else {
        response.json()?["id"].as_str().map(str::to_owned)
    };
    Ok((id.context("the response has no id")?, pod))
}

/// Counts the requests that named a response which is known to a replica in this way.
async fn count(cluster: &TestCluster, epp: &Epp, kind: &str) -> anyhow::Result<f64> {
    let page = epp.metrics_page(&cluster.client).await?;
    let kinds = page.by_label("signalbox_epp_stored_response_requests_total", "kind");
    Ok(kinds.get(kind).copied().unwrap_or(0.0))
}

/// Kills a replica that has routed requests to kept responses.
async fn kill_busy_replica(cluster: &mut TestCluster) -> anyhow::Result<()> {
    for at in 0..cluster.epps.len() {
        if count(cluster, &cluster.epps[at], "found").await? > 0.0 {
            cluster.epps.remove(at).kill()?;
            return cluster.envoy().wait_for_healthy_replicas(&cluster.client, cluster.epps.len()).await;
        }
    }
    bail!("no replica has found a response")
}

#[tokio::test]
async fn requests_go_to_the_pod_that_keeps_the_response_until_it_is_deleted() {
    let mut cluster = TestCluster::start(TestClusterConfig::default()).await.unwrap();
    let mut begun = Vec::new();
    for is_streamed in [false, true] {
        let (id, pod) = begin(&cluster, is_streamed).await.unwrap();
        // If the other replica is asked, it must have been told.
        let is_found = async || {
            let (shown, by) = send(&cluster, Method::GET, &format!("{PATH}/{id}"), None).await?;
            ensure!(shown.status == 200 && by == pod, "{by} answered {}, not {pod}", shown.status);
            Ok(())
        };
        eventually("the response is found", is_found).await.unwrap();
        begun.push((id, pod));
    }
    // The other replica was told by the owner.
    kill_busy_replica(&mut cluster).await.unwrap();
    for (id, pod) in begun {
        for _ in 0..8 {
            let next = request("And then?", &json!({ "previous_response_id": id }));
            let (answer, by) = send(&cluster, Method::POST, PATH, next).await.unwrap();
            assert_eq!((200, &pod), (answer.status.as_u16(), &by));
            assert_eq!(id, answer.json().unwrap()["previous_response_id"].as_str().unwrap());
        }
        let path = format!("{PATH}/{id}");
        let before = count(&cluster, &cluster.epps[0], "unknown").await.unwrap();
        let (deleted, by) = send(&cluster, Method::DELETE, &path, None).await.unwrap();
        assert_eq!((200, &pod), (deleted.status.as_u16(), &by));
        let is_forgotten = async || {
            let (gone, _) = send(&cluster, Method::GET, &path, None).await?;
            ensure!(gone.status == 404, "a pod answered {}", gone.status);
            let now = count(&cluster, &cluster.epps[0], "unknown").await?;
            ensure!(now > before, "the replica still knows the response");
            Ok(())
        };
        eventually("the replica has forgotten the response", is_forgotten).await.unwrap();
    }
}
