//! A pod that dies.

use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::{join, join_all};
use signalbox_integration::{Ask, Site, SiteConfig};

#[tokio::test]
async fn killing_a_pod_moves_traffic() {
    let mut site = Site::start(SiteConfig::default()).await.unwrap();
    let mut victim = site.pods.remove(0);
    let stop = AtomicBool::new(false);
    let traffic = |worker: u64| {
        let (site, stop) = (&site, &stop);
        async move {
            let mut topic = worker << 32;
            while !stop.load(Ordering::Relaxed) {
                topic += 1;
                // Some fail until the replicas know, and the victim's are not of the pods that are left.
                let _ = site.ask(&Ask::small(topic)).await;
            }
        }
    };
    let kill = async {
        site.sees("three pods are open", |candidates| candidates.len() == 3).await.unwrap();
        victim.kill().unwrap();
        let is_down = |candidate: &serde_json::Value| {
            candidate["endpoint"] == victim.name() && candidate["tier"] == "down"
        };
        site.sees("the killed pod is down", |candidates| candidates.iter().any(is_down)).await.unwrap();
        stop.store(true, Ordering::Relaxed);
    };
    join(join_all((0..8).map(traffic)), kill).await;
    for topic in 0..40 {
        // By a pod that is left, or it is an error.
        site.ask(&Ask::small(topic)).await.unwrap();
    }
    site.metric_is("own_in_flight_requests", |requests| requests == 0.0).await.unwrap();
}
