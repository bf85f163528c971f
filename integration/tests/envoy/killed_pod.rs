//! Tests the kill of a pod.

use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::{join, join_all};
use signalbox_integration::{CompletionRequest, TestCluster, TestClusterConfig};

#[tokio::test]
async fn killed_pod_gets_no_more_traffic() {
    let mut cluster = TestCluster::start(TestClusterConfig::default()).await.unwrap();
    let mut victim = cluster.pods.remove(0);
    let stop = AtomicBool::new(false);
    let traffic = |worker: u64| {
        let (cluster, stop) = (&cluster, &stop);
        async move {
            let mut topic = worker << 32;
            while !stop.load(Ordering::Relaxed) {
                topic += 1;
                // Requests may fail until the replicas notice, and `complete` rejects responses of the
                // victim.
                let _ = cluster.complete(&CompletionRequest::small(topic)).await;
            }
        }
    };
    let kill = async {
        cluster.wait_for_candidates("three pods are open", |candidates| candidates.len() == 3).await.unwrap();
        victim.kill().unwrap();
        let is_down = |candidate: &serde_json::Value| {
            candidate["endpoint"] == victim.name() && candidate["tier"] == "down"
        };
        cluster
            .wait_for_candidates("the killed pod is down", |candidates| candidates.iter().any(is_down))
            .await
            .unwrap();
        stop.store(true, Ordering::Relaxed);
    };
    join(join_all((0..8).map(traffic)), kill).await;
    for topic in 0..40 {
        // `complete` fails unless one of the remaining pods served the request.
        cluster.complete(&CompletionRequest::small(topic)).await.unwrap();
    }
    cluster.wait_for_metric("own_in_flight_requests", |requests| requests == 0.0).await.unwrap();
}
