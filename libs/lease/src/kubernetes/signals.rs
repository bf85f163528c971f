//! Stores signals in the Leases of pools.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use signalbox_kube::LeaseError;
use signalbox_types::PoolId;

use super::{KubernetesCoordinator, MAX_ATTEMPTS, claims, objects};
use crate::error::{StoreError, Unavailable};

pub(crate) async fn store_signal(
    coordinator: &KubernetesCoordinator,
    pool: &PoolId,
    epoch: u64,
    signal: &Bytes,
) -> Result<(), StoreError> {
    let _turn = coordinator.pacing.turn().await;
    for _ in 0..MAX_ATTEMPTS {
        let mut lease = claims::read(coordinator, pool).await?;
        // A claim in between makes the write fail.
        StoreError::check_rank(epoch, objects::read_ownership(&lease).and_then(|found| found.epoch))?;
        lease.annotations.insert(objects::SIGNAL.to_owned(), STANDARD.encode(signal));
        match claims::write(coordinator, lease).await {
            Err(LeaseError::Conflict | LeaseError::NotFound) => {}
            result => return Ok(result?),
        }
    }
    Err(Unavailable("too many concurrent writes of the pool's Lease".to_owned()).into())
}

pub(crate) async fn read_signal(
    coordinator: &KubernetesCoordinator,
    pool: &PoolId,
) -> Result<Option<Bytes>, Unavailable> {
    let lease = claims::read(coordinator, pool).await?;
    let signal = lease.annotations.get(objects::SIGNAL);
    Ok(signal.and_then(|signal| STANDARD.decode(signal).ok()).map(Bytes::from))
}
