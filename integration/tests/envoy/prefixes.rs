//! Tests that prompts are sent to the pod that has their prefix cached.

use anyhow::ensure;
use signalbox_integration::{CompletionRequest, ResponseFormat, TestCluster, TestClusterConfig, eventually};

/// Returns a request with 16,000 prompt tokens, so that a cached prefix outweighs small differences in load.
fn long_request(topic: u64) -> CompletionRequest {
    CompletionRequest { topic, bytes: 64_000, max_tokens: Some(4), format: ResponseFormat::Document }
}

#[tokio::test]
async fn repeated_prompt_goes_to_the_same_pod_through_either_replica() {
    let cluster = TestCluster::start(TestClusterConfig::default()).await.unwrap();
    for topic in 0..4 {
        let first = cluster.complete(&long_request(topic)).await.unwrap().pod().unwrap().to_owned();
        for epp in &cluster.epps {
            let is_known = async || {
                let explanation = epp.explain(&cluster.client, long_request(topic).body()).await?;
                let winner = &explanation["candidates"][0];
                ensure!(explanation["winner"] == *first, "{explanation}");
                ensure!(winner["cached_tokens"].as_u64() > Some(15_000), "{explanation}");
                Ok(())
            };
            eventually("the replica knows where the prompt is cached", is_known).await.unwrap();
        }
        for _ in 0..6 {
            let again = cluster.complete(&long_request(topic)).await.unwrap();
            assert_eq!(again.pod().unwrap(), first);
            let usage = &again.json().unwrap()["usage"];
            let cached_tokens = usage["prompt_tokens_details"]["cached_tokens"].as_u64();
            assert!(cached_tokens > Some(15_000), "{usage}");
        }
    }
    cluster.wait_for_metric("matched_prompt_tokens_total", |tokens| tokens > 15_000.0).await.unwrap();
}
