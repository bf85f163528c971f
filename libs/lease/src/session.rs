//! What a member may do while it is registered.

use signalbox_types::{PeerAddress, PoolId};

use crate::{Claim, ClaimError, Unavailable, etcd, local};

/// A member's registration. Dropped, it lasts for its time to live; see [`Session::leave`].
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
}

impl Session {
    /// The member's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Claims `pool` under an epoch above all that were minted before and above `above`. It stays this session's until it is released
    /// or the session ends. One who owns the pool already goes on under the new epoch.
    ///
    /// # Errors
    /// [`ClaimError`].
    pub async fn claim(&self, pool: &PoolId, above: u64) -> Result<Claim, ClaimError> {
        let Some(address) = &self.address else {
            return Err(ClaimError::Unavailable("a member without an address owns nothing".to_owned()));
        };
        match &self.lease {
            Lease::Local(lease) => lease.claim(pool, address, above),
            Lease::Etcd(lease) => lease.claim(pool, address, above).await,
        }
    }

    /// Gives `pool` up, if it is this session's; others see that at once.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn release(&self, pool: &PoolId) -> Result<(), Unavailable> {
        match &self.lease {
            Lease::Local(lease) => lease.release(pool),
            Lease::Etcd(lease) => return lease.release(pool).await,
        }
        Ok(())
    }

    /// Ends the registration: the member, and all that it owns, is gone for others at once. While the coordinator is away it is gone
    /// when its time to live is over.
    pub async fn leave(&self) {
        match &self.lease {
            Lease::Local(lease) => lease.leave(),
            Lease::Etcd(lease) => lease.leave().await,
        }
    }
}
