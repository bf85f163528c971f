//! The aggregators of a fleet, without its pools.

use signalbox_types::PeerAddress;
use tokio::sync::watch;

use super::Fleet;

/// Watches the aggregators of a fleet. The receivers of the list do not learn of changes to the pools.
pub(crate) fn watch_aggregators(mut fleet: watch::Receiver<Fleet>) -> watch::Receiver<Vec<PeerAddress>> {
    let (sender, receiver) = watch::channel(fleet.borrow_and_update().aggregators.clone());
    tokio::spawn(async move {
        loop {
            tokio::select! {
                changed = fleet.changed() => if changed.is_err() { return sender.closed().await },
                () = sender.closed() => return,
            }
            let state = fleet.borrow_and_update();
            sender.send_if_modified(|aggregators| {
                let is_changed = *aggregators != state.aggregators;
                if is_changed {
                    aggregators.clone_from(&state.aggregators);
                }
                is_changed
            });
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use signalbox_wire::ServedPool;

    use super::*;

    #[tokio::test]
    async fn changes_of_pools_are_not_passed_on() {
        let (sender, fleet) = watch::channel(Fleet::default());
        let mut aggregators = watch_aggregators(fleet);
        assert!(aggregators.borrow_and_update().is_empty());
        let pool = "default/chat".parse().unwrap();
        sender.send_modify(|fleet| fleet.pools.extend([(pool, ServedPool::default())]));
        sender.send_modify(|fleet| fleet.aggregators.push("10.0.0.1:9200".parse().unwrap()));
        aggregators.changed().await.unwrap();
        assert_eq!("10.0.0.1", aggregators.borrow_and_update()[0].host());
        drop(sender);
        assert!(!aggregators.has_changed().unwrap(), "the list outlives the fleet");
    }
}
