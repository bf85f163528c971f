//! A member's registration, and what it can do with it.

use signalbox_types::{PeerAddress, PoolId};

use crate::error::Unavailable;
#[cfg(feature = "kubernetes")]
use crate::kubernetes;
use crate::ownership::{Claim, ClaimError, ClaimRequest};
use crate::{etcd, local};

/// A member's registration. After a drop it lasts for its time to live; [`Session::leave`] ends it at once.
#[derive(Debug)]
pub struct Session {
    pub(crate) name: String,
    pub(crate) address: Option<PeerAddress>,
    pub(crate) lease: Lease,
}

#[derive(Debug)]
pub(crate) enum Lease {
    Local(local::Lease),
    Etcd(etcd::Lease),
    #[cfg(feature = "kubernetes")]
    Kubernetes(kubernetes::Lease),
}

impl Session {
    /// Returns the member's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Claims `pool` in an epoch higher than all earlier ones and higher than `request.above`. The session owns
    /// the pool until it releases it, ends, or is replaced. An owner that claims its pool again continues in the
    /// new epoch.
    ///
    /// A claim that names the owner's epoch in `request.replacing` takes the pool from that owner, which learns
    /// it from the coordinator like everyone else. Epochs fence the earlier owner off, so this is safe at any
    /// time.
    ///
    /// # Errors
    /// [`ClaimError`].
    pub async fn claim(&self, pool: &PoolId, request: ClaimRequest) -> Result<Claim, ClaimError> {
        let Some(address) = &self.address else {
            return Err(ClaimError::Unavailable("a member without an address cannot own a pool".to_owned()));
        };
        match &self.lease {
            Lease::Local(lease) => lease.claim(pool, address, request),
            Lease::Etcd(lease) => lease.claim(pool, address, request).await,
            #[cfg(feature = "kubernetes")]
            Lease::Kubernetes(lease) => lease.claim(pool, address, request).await,
        }
    }

    /// Releases `pool` if this session owns it. Others see that at once.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn release(&self, pool: &PoolId) -> Result<(), Unavailable> {
        match &self.lease {
            Lease::Local(lease) => lease.release(pool),
            Lease::Etcd(lease) => return lease.release(pool).await,
            #[cfg(feature = "kubernetes")]
            Lease::Kubernetes(lease) => return lease.release(pool).await,
        }
        Ok(())
    }

    /// Ends the registration: others stop seeing the member and its ownerships at once. If the coordinator is
    /// unavailable, they stop seeing them when the time to live is over.
    pub async fn leave(&self) {
        match &self.lease {
            Lease::Local(lease) => lease.leave(),
            Lease::Etcd(lease) => lease.leave().await,
            #[cfg(feature = "kubernetes")]
            Lease::Kubernetes(lease) => lease.leave().await,
        }
    }
}
