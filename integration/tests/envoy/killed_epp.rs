//! An EPP replica that dies.

use anyhow::ensure;
use futures_util::future::join_all;
use signalbox_integration::{Ask, Delivery, PodConfig, Site, SiteConfig, eventually};

/// As slow as a real one: its answers outlast the test's steps.
const SLOW: PodConfig = PodConfig { speed: 1.0, kv_capacity_tokens: 524_288 };

/// Seconds long.
fn lasting(topic: u64) -> Ask {
    Ask { topic, bytes: 300, max_tokens: Some(1_000), delivery: Delivery::Events }
}

#[tokio::test]
async fn a_killed_replica_leaves_no_booking_behind_in_the_other() {
    let mut site = Site::start(SiteConfig { pod: SLOW, ..SiteConfig::default() }).await.unwrap();
    let mut victim = site.epps.remove(0);
    let survivor = &site.epps[0];
    let load = join_all((0..24).map(|topic| {
        let site = &site;
        async move { site.ask(&lasting(topic)).await }
    }));
    let kill = async {
        let booked = async || {
            let own = victim.metric(&site.client, "own_in_flight_requests").await?;
            let others = survivor.metric(&site.client, "others_in_flight_requests").await?;
            ensure!(own > 0.0 && own == others, "the victim has {own}, the survivor knows of {others}");
            let mine = survivor.metric(&site.client, "own_in_flight_requests").await?;
            ensure!(own + mine == 24.0, "{own} and {mine} of 24");
            Ok(own)
        };
        let booked = eventually("the survivor knows the victim's bookings", booked).await.unwrap();
        victim.kill().unwrap();
        let gone = |others| others == 0.0;
        site.metric_is("others_in_flight_requests", gone).await.unwrap();
        booked
    };
    let (answers, booked) = futures_util::future::join(load, kill).await;
    // The victim's own break: a gateway that sees responses pass through a picker loses them with it.
    let broken = answers.iter().filter(|answer| answer.is_err()).count();
    assert!(broken as f64 <= booked, "{broken} broke, the victim had {booked}");
    site.envoy().sees_healthy(&site.client, 1).await.unwrap();
    site.metric_is("own_in_flight_requests", |requests| requests == 0.0).await.unwrap();
    for topic in 100..120 {
        site.ask(&Ask::small(topic)).await.unwrap();
    }
}
