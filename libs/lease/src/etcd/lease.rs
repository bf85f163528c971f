//! What a member may do in etcd while it is registered.

use std::sync::Arc;
use std::time::Duration;

use signalbox_types::{PeerAddress, PoolId};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::keeper::{Keeper, Standing};
use super::{Hub, answer, claims};
use crate::{Claim, ClaimError, Member, Owner, Unavailable};

#[derive(Debug)]
pub(crate) struct Lease {
    hub: Arc<Hub>,
    name: String,
    /// Has no sender any more when the keeper is gone.
    standing: watch::Receiver<Standing>,
    stop: CancellationToken,
}

impl Lease {
    pub(crate) fn start(hub: Arc<Hub>, member: Member, ttl: Duration) -> Self {
        hub.lasts(ttl);
        let (sender, standing) = watch::channel(Standing::Unknown);
        let (name, stop) = (member.name.clone(), CancellationToken::new());
        let keeper = Keeper { hub: Arc::clone(&hub), member, ttl, standing: sender };
        tokio::spawn(stop.clone().run_until_cancelled_owned(keeper.run()));
        Self { hub, name, standing, stop }
    }

    pub(crate) async fn claim(
        &self,
        pool: &PoolId,
        address: &PeerAddress,
        above: u64,
    ) -> Result<Claim, ClaimError> {
        let Some(lease) = self.registered() else {
            return Err(ClaimError::Unavailable("this process is not registered".to_owned()));
        };
        let mut client = self.hub.client().await?;
        let owner = |epoch| Owner { name: self.name.clone(), address: address.clone(), epoch };
        claims::claim(&mut client, lease, pool, above, owner).await
    }

    pub(crate) async fn release(&self, pool: &PoolId) -> Result<(), Unavailable> {
        let Some(lease) = self.registered() else { return Ok(()) };
        let mut client = self.hub.client().await?;
        Ok(claims::release(&mut client, lease, pool).await?)
    }

    pub(crate) async fn leave(&self) {
        self.stop.cancel();
        let mut standing = self.standing.clone();
        // Until the keeper is gone: what it has asked for by then is undone.
        while standing.changed().await.is_ok() {}
        let Some(lease) = standing.borrow().lease() else { return };
        let revoked = async {
            let mut client = self.hub.client().await?;
            answer(client.lease_revoke(lease)).await
        };
        if let Err(error) = revoked.await {
            tracing::warn!(%error, "the registration ends only when its time is over");
        }
    }

    /// The lease, while the member is registered and has not left.
    fn registered(&self) -> Option<i64> {
        match *self.standing.borrow() {
            Standing::Registered(lease) if !self.stop.is_cancelled() => Some(lease),
            _ => None,
        }
    }
}

impl Drop for Lease {
    /// As when a process dies: the lease runs out.
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
