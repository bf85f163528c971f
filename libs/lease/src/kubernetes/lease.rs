//! A member's registration in Kubernetes.

use std::sync::Arc;
use std::time::Duration;

use signalbox_kube::LeaseError;
use signalbox_types::{PeerAddress, PoolId};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::objects::{self, MemberRun};
use super::registration::Registration;
use super::{KubernetesCoordinator, MAX_ATTEMPTS, claims, lease_name};
use crate::error::Unavailable;
use crate::membership::Member;
use crate::ownership::{Claim, ClaimError, ClaimRequest};
use crate::renewal_gate::RenewalGate;

/// Time limit for the end of a registration.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(3);

/// How long a claim waits for its turn. After that whoever claims looks again whether it still wants the pool.
const CLAIM_PATIENCE: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Lease {
    coordinator: Arc<KubernetesCoordinator>,
    run: MemberRun,
    object: String,
    /// The object as last written; `None` while the member is not registered. Loses its sender when the
    /// registration task has ended.
    written: watch::Receiver<Option<signalbox_kube::Lease>>,
    stop: CancellationToken,
}

impl Lease {
    pub(crate) fn start(
        coordinator: Arc<KubernetesCoordinator>,
        member: Member,
        ttl: Duration,
        gate: RenewalGate,
    ) -> Self {
        let run = MemberRun { name: member.name.clone(), id: format!("{:016x}", rand::random::<u64>()) };
        let object = lease_name::of_member(&coordinator.installation, member.role, &member.name);
        let (sender, written) = watch::channel(None);
        let stop = CancellationToken::new();
        let registration = Registration {
            coordinator: Arc::clone(&coordinator),
            member,
            run: run.clone(),
            object: object.clone(),
            ttl,
            lease: sender,
            gate,
            stop: stop.clone(),
        };
        tokio::spawn(registration.run());
        Self { coordinator, run, object, written, stop }
    }

    pub(crate) async fn claim(
        &self,
        pool: &PoolId,
        address: &PeerAddress,
        request: ClaimRequest,
    ) -> Result<Claim, ClaimError> {
        self.check_registered()?;
        let pacing = &self.coordinator.pacing;
        let turn = tokio::select! {
            turn = timeout(CLAIM_PATIENCE, pacing.turn_for(pool)) => turn.map_err(|_| {
                ClaimError::Unavailable("the API server did not do what it was asked; waiting before the next attempt".to_owned())
            })?,
            () = self.stop.cancelled() => return Err(not_registered()),
        };
        self.check_registered()?;
        let result = claims::claim(&self.coordinator, &self.run, pool, address, request).await;
        pacing.record(&turn, pool, &result);
        result?
    }

    fn check_registered(&self) -> Result<(), ClaimError> {
        let is_registered = !self.stop.is_cancelled() && self.written.borrow().is_some();
        if is_registered { Ok(()) } else { Err(not_registered()) }
    }

    pub(crate) async fn release(&self, pool: &PoolId) -> Result<(), Unavailable> {
        let _turn = self.coordinator.pacing.turn().await;
        Ok(claims::release(&self.coordinator, &self.run, pool).await?)
    }

    /// Deletes the member's Lease. Pools are owned only while it exists, so this releases them.
    pub(crate) async fn leave(&self) {
        self.stop.cancel();
        if timeout(LEAVE_TIMEOUT, self.end()).await.is_err() {
            tracing::warn!("the API server does not respond; the Lease of this process ends when it expires");
        }
    }

    async fn end(&self) {
        let mut written = self.written.clone();
        // Wait for the end of the registration task, so that nothing is written after the deletion.
        while written.changed().await.is_ok() {}
        if let Err(error) = self.delete().await {
            tracing::warn!(%error, "cannot delete the Lease of this process; it ends when it expires");
        }
    }

    async fn delete(&self) -> Result<(), LeaseError> {
        for _ in 0..MAX_ATTEMPTS {
            let found = self.coordinator.leases.get(&self.object).await?;
            let Some(lease) = found.filter(|lease| objects::run(lease).as_ref() == Some(&self.run)) else {
                return Ok(());
            };
            match self.coordinator.leases.delete(&lease).await {
                Err(LeaseError::Conflict | LeaseError::NotFound) => {}
                result => return result,
            }
        }
        Err(LeaseError::Conflict)
    }
}

fn not_registered() -> ClaimError {
    ClaimError::Unavailable("this process is not registered".to_owned())
}

impl Drop for Lease {
    /// Lets the Lease expire, as when a process dies.
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
