//! Keeps a member registered.

use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Error, PutOptions};
use tokio::sync::watch;
use tokio::time::timeout;

use super::outage::Outage;
use super::{EtcdError, Hub, answer};
use crate::{Member, keys};

/// How etcd, and its client, say that there is no such lease.
const NO_LEASE: &str = "lease not found";

/// How far a registration is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// There is no lease.
    Unknown,
    /// There is a lease; whether etcd has heard of the member is not certain.
    Granted(i64),
    /// The member is registered under this lease.
    Registered(i64),
}

impl Standing {
    pub(super) fn lease(self) -> Option<i64> {
        match self {
            Self::Unknown => None,
            Self::Granted(lease) | Self::Registered(lease) => Some(lease),
        }
    }
}

pub(super) struct Keeper {
    pub(super) hub: Arc<Hub>,
    pub(super) member: Member,
    pub(super) ttl: Duration,
    pub(super) standing: watch::Sender<Standing>,
}

impl Keeper {
    /// Registers, keeps the lease alive, and begins anew when that is lost.
    pub(super) async fn run(self) {
        let mut outage = Outage::none();
        loop {
            let standing = *self.standing.borrow();
            let stepped = match standing {
                Standing::Unknown => self.grant().await,
                Standing::Granted(lease) => self.register(lease).await,
                Standing::Registered(lease) => self.keep_alive(lease, &mut outage).await,
            };
            let Err(error) = stepped else { continue };
            if is_lost(&error) {
                self.standing.send_replace(Standing::Unknown);
                outage.answers();
            }
            let what = format!("{} cannot stay registered with etcd", self.member.name);
            tokio::time::sleep(outage.goes_on(&what, &error, rand::random())).await;
        }
    }

    async fn grant(&self) -> Result<(), EtcdError> {
        let mut client = self.hub.client().await?;
        let seconds = self.ttl.as_secs_f64().ceil() as i64;
        let lease = answer(client.lease_grant(seconds.max(1), None)).await?.id();
        self.standing.send_replace(Standing::Granted(lease));
        Ok(())
    }

    async fn register(&self, lease: i64) -> Result<(), EtcdError> {
        let mut client = self.hub.client().await?;
        let key = keys::member_key(self.member.role, &self.member.name);
        let options = PutOptions::new().with_lease(lease);
        answer(client.put(key, keys::member_value(&self.member), Some(options))).await?;
        self.standing.send_replace(Standing::Registered(lease));
        Ok(())
    }

    /// Keeps the lease alive until that fails. etcd may be away for longer than the lease lasts by this process's clock: only etcd
    /// knows whether the lease is lost.
    async fn keep_alive(&self, lease: i64, outage: &mut Outage) -> Result<(), EtcdError> {
        let mut client = self.hub.client().await?;
        let (mut asks, mut answers) = answer(client.lease_keep_alive(lease)).await?;
        outage.ends(&format!("{} is registered with etcd", self.member.name));
        loop {
            tokio::time::sleep(self.ttl / 3).await;
            let asked = async {
                asks.keep_alive().await?;
                answers.message().await
            };
            match timeout(self.ttl / 3, asked).await {
                Ok(Ok(Some(kept))) if kept.ttl() > 0 => {}
                Ok(Ok(Some(_))) => return Err(EtcdError::LeaseLost),
                Ok(Ok(None)) => return Err(EtcdError::Closed),
                Ok(Err(error)) => return Err(error.into()),
                Err(_) => return Err(EtcdError::NoAnswer),
            }
        }
    }
}

/// Whether etcd said that there is no such lease; the client says so of some errors of the connection, too, in other words.
fn is_lost(error: &EtcdError) -> bool {
    match error {
        EtcdError::LeaseLost => true,
        EtcdError::Client(Error::LeaseKeepAliveError(reason)) => reason.contains(NO_LEASE),
        EtcdError::Client(Error::GRpcStatus(status)) => status.message().contains(NO_LEASE),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_lost_when_etcd_says_so_and_not_when_it_says_nothing() {
        let kept = |reason: &str| EtcdError::Client(Error::LeaseKeepAliveError(reason.to_owned()));
        assert!(is_lost(&EtcdError::LeaseLost) && is_lost(&kept("lease not found")));
        for error in [EtcdError::NoAnswer, EtcdError::Closed, kept("channel closed")] {
            assert!(!is_lost(&error), "{error}");
        }
    }
}
