//! Exchanges the autoscaling signal with the coordinator and with those who read it.

use std::sync::Arc;
use std::time::Duration;

use signalbox_lease::StoreError;
use signalbox_signal::Signal;
use signalbox_state::{Pool, PoolInput, RoleInput, RoleStatus};
use signalbox_types::PoolId;
use tokio::sync::watch;

use super::State;
use crate::actors::coordination::Membership;
use crate::pools::{PoolOwnerMessage, PoolOwnerRef};

/// How long a new owner waits at most for what the coordinator has stored. Numbers that are older count for nothing.
const READ_TIMEOUT: Duration = Duration::from_millis(signalbox_signal::MAX_AGE_MS);

/// How long to wait after the coordinator did not answer.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The signal to store, and the epoch of its owner; the last one counts. `None`: another aggregator stores it.
pub(super) type ToStore = Option<(u64, Arc<Signal>)>;

impl State {
    /// Publishes the signal of the pool's owner for those who read it here, if it is another one.
    pub(super) fn publish_signal(&self) {
        if let Some(signal) = self.role.pool_state().signal() {
            self.setup.handle.signal.publish(signal, self.role.owner_now_ms(self.now_ms()));
        }
    }

    /// Stores the last signal as the owner of `epoch`: under an earlier one, the coordinator may have refused it.
    pub(super) fn store_signal_again(&self, epoch: u64) {
        self.to_store.send_if_modified(|to_store| begin_epoch(to_store, epoch));
    }

    /// Asks the coordinator what an earlier owner has stored, as the owner of `epoch`, if that is not known.
    pub(super) fn read_stored_signal(&self, myself: &PoolOwnerRef, epoch: u64) {
        if !self.role.pool().is_some_and(Pool::awaits_stored_signal) {
            return;
        }
        let (membership, pool) = (self.setup.membership.clone(), self.setup.handle.pool.clone());
        let myself = myself.clone();
        tokio::spawn(async move {
            let read = tokio::time::timeout(READ_TIMEOUT, read(&membership, &pool)).await;
            let stored = read.unwrap_or_else(|_| {
                tracing::warn!(%pool, "the coordinator does not say which replicas an earlier owner asked for; assessing the pool anew");
                None
            });
            // This fails if the actor has stopped. Its successor asks again.
            let _ = myself.cast(PoolOwnerMessage::StoredSignal { epoch, stored });
        });
    }

    /// Passes on what the coordinator has stored. If the epoch is another one by now, the pool may be, too.
    pub(super) fn handle_stored_signal(
        &mut self,
        myself: &PoolOwnerRef,
        epoch: u64,
        stored: Option<Arc<Signal>>,
    ) {
        if self.role.status() == RoleStatus::Owner(epoch) {
            self.apply(myself, RoleInput::Pool(PoolInput::StoredSignal(stored)));
        } else if let RoleStatus::Owner(epoch) = self.role.status() {
            self.read_stored_signal(myself, epoch);
        }
    }
}

/// Takes over what is to be stored into a later epoch. Returns whether it is of an earlier one.
fn begin_epoch(to_store: &mut ToStore, epoch: u64) -> bool {
    let of = to_store.as_mut().map(|(of, _)| of).filter(|of| **of < epoch);
    of.map(|of| *of = epoch).is_some()
}

async fn read(membership: &Membership, pool: &PoolId) -> Option<Arc<Signal>> {
    let stored = loop {
        match membership.coordinator.read_signal(pool).await {
            Ok(stored) => break stored?,
            Err(error) => tracing::debug!(%pool, %error, "cannot read the stored signal; retrying"),
        }
        tokio::time::sleep(RETRY_AFTER).await;
    };
    match signalbox_wire::decode_signal(stored) {
        Ok(signal) => Some(Arc::new(signal)),
        Err(error) => {
            tracing::warn!(%pool, %error, "ignoring the stored signal");
            None
        }
    }
}

/// Stores each signal that is to be stored, until the actor ends. One that cannot be stored is tried again, except by an owner
/// that was replaced.
pub(super) async fn store(membership: Membership, pool: PoolId, mut signals: watch::Receiver<ToStore>) {
    while signals.changed().await.is_ok() {
        let mut failed = None;
        loop {
            let latest = signals.borrow_and_update().clone();
            let Some((epoch, signal)) = latest else { break };
            let encoded = signalbox_wire::encode_signal(&signal);
            match membership.coordinator.store_signal(&pool, epoch, encoded).await {
                Ok(()) => break,
                // The actor learns from the watch of the owner who that is, maybe itself.
                Err(error @ StoreError::Outranked(_)) => {
                    tracing::debug!(%pool, epoch, %error, "not storing which replicas the pool needs");
                    break;
                }
                Err(StoreError::Unavailable(error)) => {
                    if failed.replace(error.clone()).as_ref() != Some(&error) {
                        tracing::warn!(%pool, %error, "cannot store which replicas the pool needs; retrying");
                    }
                    tokio::time::sleep(RETRY_AFTER).await;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use signalbox_lease::{ClaimRequest, Coordinator, Member, Role};
    use signalbox_signal::GroupSignal;

    use super::*;
    use crate::actors::coordination::OwnerHistory;

    fn asking_for(desired: u32) -> Arc<Signal> {
        let groups = vec![GroupSignal { desired, ..GroupSignal::default() }];
        Arc::new(Signal { groups, ..Signal::default() })
    }

    #[tokio::test]
    async fn signal_of_an_earlier_epoch_is_stored_only_when_its_owner_begins_a_later_one() {
        let coordinator = Coordinator::in_process();
        let member =
            Member { role: Role::Aggregator, name: "a".to_owned(), address: Some("a:1".parse().unwrap()) };
        let session = Arc::new(coordinator.join(member, Duration::from_secs(60)));
        let pool = PoolId { namespace: "n".to_owned(), name: "p".to_owned() };
        let earlier = session.claim(&pool, ClaimRequest::default()).await.unwrap().epoch;
        let epoch = session.claim(&pool, ClaimRequest::default()).await.unwrap().epoch;
        let membership = Membership {
            coordinator: coordinator.clone(),
            session,
            owner_history: OwnerHistory::SinceStart,
            claim_failures: Arc::default(),
        };
        // Stores what is left when the channel closes, and ends then: it does not try again.
        let store_all = async |to_store: ToStore| {
            let sender = watch::Sender::default();
            let signals = sender.subscribe();
            sender.send_replace(to_store);
            drop(sender);
            store(membership.clone(), pool.clone(), signals).await;
            read(&membership, &pool).await.map(|signal| signal.groups[0].desired)
        };
        assert_eq!(Some(7), store_all(Some((epoch, asking_for(7)))).await);
        let mut refused = Some((earlier, asking_for(9)));
        assert_eq!(Some(7), store_all(refused.clone()).await);
        assert!(begin_epoch(&mut refused, epoch) && !begin_epoch(&mut refused, epoch));
        assert_eq!(Some(9), store_all(refused).await);
    }
}
