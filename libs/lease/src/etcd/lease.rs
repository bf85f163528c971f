//! A member's lease in etcd.

use std::sync::Arc;
use std::time::Duration;

use signalbox_types::{PeerAddress, PoolId};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::registration::{Registration, RegistrationState};
use super::{EtcdCoordinator, claims, with_timeout};
use crate::error::Unavailable;
use crate::membership::Member;
use crate::ownership::{Claim, ClaimError, ClaimRequest, Owner};
use crate::renewal_gate::RenewalGate;

#[derive(Debug)]
pub(crate) struct Lease {
    coordinator: Arc<EtcdCoordinator>,
    name: String,
    /// Loses its sender when the registration task has ended.
    state: watch::Receiver<RegistrationState>,
    stop: CancellationToken,
}

impl Lease {
    pub(crate) fn start(
        coordinator: Arc<EtcdCoordinator>,
        member: Member,
        ttl: Duration,
        gate: RenewalGate,
    ) -> Self {
        coordinator.record_ttl(ttl);
        let (sender, state) = watch::channel(RegistrationState::NoLease);
        let (name, stop) = (member.name.clone(), CancellationToken::new());
        let registration =
            Registration { coordinator: Arc::clone(&coordinator), member, ttl, state: sender, gate };
        tokio::spawn(stop.clone().run_until_cancelled_owned(registration.run()));
        Self { coordinator, name, state, stop }
    }

    pub(crate) async fn claim(
        &self,
        pool: &PoolId,
        address: &PeerAddress,
        request: ClaimRequest,
    ) -> Result<Claim, ClaimError> {
        let Some(lease) = self.registered_lease() else {
            return Err(ClaimError::Unavailable("this process is not registered".to_owned()));
        };
        let mut client = self.coordinator.client().await?;
        let owner = |epoch| Owner { name: self.name.clone(), address: address.clone(), epoch };
        claims::claim(&mut client, lease, pool, request, owner).await
    }

    pub(crate) async fn release(&self, pool: &PoolId) -> Result<(), Unavailable> {
        let Some(lease) = self.registered_lease() else { return Ok(()) };
        let mut client = self.coordinator.client().await?;
        Ok(claims::release(&mut client, lease, pool).await?)
    }

    pub(crate) async fn leave(&self) {
        self.stop.cancel();
        let mut state = self.state.clone();
        // Wait for the end of the registration task, so that the revocation undoes all that it has written.
        while state.changed().await.is_ok() {}
        let Some(lease) = state.borrow().lease() else { return };
        let revoked = async {
            let mut client = self.coordinator.client().await?;
            with_timeout(client.lease_revoke(lease)).await
        };
        if let Err(error) = revoked.await {
            tracing::warn!(%error, "cannot revoke the lease; it ends when it expires");
        }
    }

    /// Returns the lease while the member is registered and has not left.
    fn registered_lease(&self) -> Option<i64> {
        match *self.state.borrow() {
            RegistrationState::Registered(lease) if !self.stop.is_cancelled() => Some(lease),
            _ => None,
        }
    }
}

impl Drop for Lease {
    /// Lets the lease expire, as when a process dies.
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
