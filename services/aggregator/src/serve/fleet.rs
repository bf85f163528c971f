//! The fleet: tells replicas and collectors which pools and which aggregators there are.

use std::time::Duration;

use signalbox_lease::Member;
use signalbox_protos::signalbox::v1 as pb;
use signalbox_types::PeerAddress;
use signalbox_wire::FleetState;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tonic::Status;

use super::Outgoing;
use crate::pool_source::PoolSet;

/// Longest time between two messages of a stream.
const SIGN_OF_LIFE_INTERVAL: Duration = Duration::from_secs(1);

/// Messages that can queue until the receiver reads them.
const MAX_QUEUED_STATES: usize = 2;

/// Watches the fleet: the pools in `sets`, this aggregator and the registered ones.
pub(crate) fn watch_fleet(
    mut sets: watch::Receiver<PoolSet>,
    own_address: PeerAddress,
    mut members: watch::Receiver<Vec<Member>>,
) -> watch::Receiver<FleetState> {
    let (sender, receiver) = watch::channel(fleet_state(&sets.borrow(), &own_address, &members.borrow()));
    tokio::spawn(async move {
        loop {
            let state = fleet_state(&sets.borrow_and_update(), &own_address, &members.borrow_and_update());
            sender.send_if_modified(|last| {
                let is_changed = *last != state;
                *last = state;
                is_changed
            });
            tokio::select! {
                changed = sets.changed() => if changed.is_err() { return },
                changed = members.changed() => if changed.is_err() { return },
                () = sender.closed() => return,
            }
        }
    });
    receiver
}

fn fleet_state(set: &PoolSet, own_address: &PeerAddress, members: &[Member]) -> FleetState {
    let registered = members.iter().filter_map(|member| member.address.as_ref());
    let others = registered.filter(|address| *address != own_address);
    let pools = if set.is_synced { set.pools.iter() } else { Default::default() };
    FleetState {
        is_synced: set.is_synced,
        pools: pools.map(|(id, pool)| (id.clone(), pool.served)).collect(),
        aggregators: std::iter::once(own_address).chain(others).cloned().collect(),
    }
}

/// Sends the state at once, at each change, and every second.
pub(super) fn serve(mut fleet: watch::Receiver<FleetState>) -> Outgoing<pb::FleetState> {
    let (sender, receiver) = mpsc::channel(MAX_QUEUED_STATES);
    tokio::spawn(async move {
        loop {
            let state = signalbox_wire::encode_fleet_state(&fleet.borrow_and_update());
            let is_gone = async {
                if sender.send(Ok(state)).await.is_err() {
                    return true;
                }
                tokio::select! {
                    changed = timeout(SIGN_OF_LIFE_INTERVAL, fleet.changed()) => matches!(changed, Ok(Err(_))),
                    () = sender.closed() => true,
                }
            };
            if is_gone.await {
                let _ = sender.try_send(Err(Status::unavailable("this aggregator is stopping")));
                return;
            }
        }
    });
    Outgoing::new(receiver)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use signalbox_lease::Role;
    use signalbox_types::{PoolId, PoolSpec};
    use signalbox_wire::ServedPool;

    use super::*;
    use crate::pool_source::SourcedPool;

    fn member(name: &str) -> Member {
        let address = Some(format!("{name}:1").parse().unwrap());
        Member { role: Role::Aggregator, name: name.to_owned(), address }
    }

    #[test]
    fn sender_is_the_first_aggregator_and_pools_are_listed_when_synced() {
        let id = PoolId { namespace: "default".to_owned(), name: "p".to_owned() };
        let served = ServedPool { port: Some(9002), created_ms: 5 };
        let spec = Arc::new(PoolSpec { id: id.clone(), endpoints: Vec::new(), models: Arc::default() });
        let mut set = PoolSet { is_synced: true, pools: [(id.clone(), SourcedPool { spec, served })].into() };
        let (members, own) = ([member("a"), member("me"), member("z")], "me:1".parse().unwrap());
        let state = fleet_state(&set, &own, &members);
        assert_eq!(
            vec!["me:1", "a:1", "z:1"],
            state.aggregators.iter().map(ToString::to_string).collect::<Vec<_>>()
        );
        assert_eq!((true, vec![(id, served)]), (state.is_synced, state.pools.into_iter().collect()));
        set.is_synced = false;
        let state = fleet_state(&set, &own, &members[..1]);
        assert_eq!((false, 0, 2), (state.is_synced, state.pools.len(), state.aggregators.len()));
    }
}
