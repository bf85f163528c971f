//! The autoscaling signal of pools, over a change of the owner.

use signalbox_signal::{GroupSignal, Signal};

use super::*;

/// Returns a signal that asks for so many replicas.
fn asking_for(desired: u32) -> Signal {
    let groups = vec![GroupSignal { desired, ..GroupSignal::default() }];
    Signal { is_active: true, groups, ..Signal::default() }
}

/// Returns whether the aggregator exports that it knows too little of the pool to give a number, as its owner does.
async fn exports(aggregator: &Aggregator) -> bool {
    let page = http::get(aggregator.metrics_address(), "/metrics").await.1;
    page.lines().any(|line| line == r#"signalbox_signal_valid{pool="default/p"} 0.0"#)
}

/// Returns the version of the pool's state that the aggregator has, within the term of one owner.
async fn seq(aggregator: &Aggregator) -> u64 {
    let page = http::get(aggregator.metrics_address(), "/metrics").await.1;
    let value =
        page.lines().find_map(|line| line.strip_prefix(r#"signalbox_aggregator_seq{pool="default/p"} "#));
    value.map_or(0, |value| value.parse().unwrap())
}

async fn stored_desired(coordinator: &Coordinator) -> Option<u32> {
    let stored = coordinator.read_signal(&id("p")).await.unwrap()?;
    let signal = signalbox_wire::decode_signal(stored).unwrap();
    Some(signal.groups.iter().map(|group| group.desired).sum())
}

#[tokio::test]
async fn each_owner_goes_on_from_what_is_stored_and_exports_alone() {
    let coordinator = Coordinator::in_process();
    coordinator.store_signal(&id("p"), 1, signalbox_wire::encode_signal(&asking_for(7))).await.unwrap();
    let sets = watch::Sender::new(set(&[("p", 9001)]));
    let one = start("one", sets.subscribe(), Some(&coordinator), TIMEOUT).await;
    eventually("the owner publishes a signal", async || exports(&one).await).await;
    let two = start("two", sets.subscribe(), Some(&coordinator), TIMEOUT).await;
    // It asks for no less, and stores that under its own epoch.
    let is_stored = async || {
        let bytes = coordinator.read_signal(&id("p")).await.unwrap().unwrap();
        signalbox_wire::decode_signal(bytes).unwrap().epoch > 0
    };
    eventually("the owner stores its signal", is_stored).await;
    assert_eq!(Some(7), stored_desired(&coordinator).await);
    let owned = seq(&one).await;
    eventually("the standby has the owner's signal", async || seq(&two).await >= owned).await;
    assert!(owned > 0 && !exports(&two).await, "a standby exports nothing");
    one.stop().await;
    eventually("the next owner publishes a signal", async || exports(&two).await).await;
    assert_eq!(Some(7), stored_desired(&coordinator).await);
    two.stop().await;
}
