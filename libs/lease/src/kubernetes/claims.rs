//! Claims and releases pools by compare-and-swap on their Leases.

use std::time::Instant;

use signalbox_kube::{Lease, LeaseError};
use signalbox_types::{PeerAddress, PoolId};

use super::objects::{self, MemberRun};
use super::{KubernetesCoordinator, MAX_ATTEMPTS, lease_name};
use crate::membership::Role;
use crate::ownership::{Claim, ClaimError, ClaimRequest, Owner};

/// Claims `pool` for `run`, which must be registered. The outer result is that of the requests.
pub(super) async fn claim(
    coordinator: &KubernetesCoordinator,
    run: &MemberRun,
    pool: &PoolId,
    address: &PeerAddress,
    request: ClaimRequest,
) -> Result<Result<Claim, ClaimError>, LeaseError> {
    for _ in 0..MAX_ATTEMPTS {
        let mut lease = read(coordinator, pool).await?;
        let ownership = objects::read_ownership(&lease);
        let (owner, previous) = ownership.map_or((None, None), |found| (found.owner, found.epoch));
        if let Some((owner, holder)) = owner
            && holder != *run
            && request.is_refused_by(&owner)
            && is_registered(coordinator, &holder).await?
        {
            return Ok(Err(ClaimError::Held(owner)));
        }
        let claim = match Claim::next(previous, request.above) {
            Ok(claim) => claim,
            Err(error) => return Ok(Err(error)),
        };
        let owner = Owner { name: run.name.clone(), address: address.clone(), epoch: claim.epoch };
        objects::write_owner(&mut lease, &owner, run);
        match write(coordinator, lease).await {
            Ok(()) => return Ok(Ok(claim)),
            Err(LeaseError::Conflict | LeaseError::NotFound) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Err(ClaimError::Unavailable("too many concurrent claims".to_owned())))
}

/// Releases `pool` if `run` owns it.
pub(super) async fn release(
    coordinator: &KubernetesCoordinator,
    run: &MemberRun,
    pool: &PoolId,
) -> Result<(), LeaseError> {
    for _ in 0..MAX_ATTEMPTS {
        let mut lease = read(coordinator, pool).await?;
        if objects::run(&lease).as_ref() != Some(run) {
            return Ok(());
        }
        objects::remove_owner(&mut lease);
        match write(coordinator, lease).await {
            Err(LeaseError::Conflict | LeaseError::NotFound) => {}
            result => return result,
        }
    }
    Err(LeaseError::Conflict)
}

/// Returns whether a run is registered. It is looked up, because the watch may lag: a pool is never taken from an
/// owner that has just registered.
async fn is_registered(coordinator: &KubernetesCoordinator, run: &MemberRun) -> Result<bool, LeaseError> {
    let name = lease_name::of_member(&coordinator.installation, Role::Aggregator, &run.name);
    let Some(lease) = coordinator.leases.get(&name).await? else { return Ok(false) };
    let is_same_run = objects::run(&lease).as_ref() == Some(run);
    Ok(is_same_run && !coordinator.mirror.table().is_expired(&lease))
}

/// Reads the Lease of a pool, or returns a new one.
pub(super) async fn read(coordinator: &KubernetesCoordinator, pool: &PoolId) -> Result<Lease, LeaseError> {
    let name = lease_name::of_pool(&coordinator.installation, pool);
    match coordinator.leases.get(&name).await? {
        None => Ok(objects::new_pool_lease(name, pool)),
        Some(lease) if objects::pool_of(&lease) == Some(&pool.to_string()) => Ok(lease),
        Some(_) => Err(LeaseError::Refused(format!(
            "the Lease {name} in namespace {} does not belong to pool {pool}; delete it, or choose another \
             --installation",
            coordinator.leases.namespace()
        ))),
    }
}

/// Writes a Lease that was read or is new, if it has not changed since.
pub(super) async fn write(coordinator: &KubernetesCoordinator, mut lease: Lease) -> Result<(), LeaseError> {
    lease.owner = coordinator.mirror.table().owner_of(&lease, Instant::now());
    if lease.resource_version.is_empty() {
        coordinator.leases.create(&lease).await?;
    } else {
        coordinator.leases.replace(&lease).await?;
    }
    Ok(())
}
