//! Keeps a member registered in etcd.

use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Error, PutOptions};
use tokio::sync::watch;
use tokio::time::timeout;

use super::{EtcdCoordinator, EtcdError, with_timeout};
use crate::membership::Member;
use crate::outage::OutageTracker;
use crate::registry::keys;
use crate::renewal_gate::RenewalGate;

/// Message by which etcd and its client report that a lease does not exist.
const LEASE_NOT_FOUND: &str = "lease not found";

/// Progress of a registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RegistrationState {
    /// There is no lease.
    NoLease,
    /// There is a lease, but etcd may not have stored the member yet.
    LeaseGranted(i64),
    /// The member is registered under this lease.
    Registered(i64),
}

impl RegistrationState {
    pub(super) fn lease(self) -> Option<i64> {
        match self {
            Self::NoLease => None,
            Self::LeaseGranted(lease) | Self::Registered(lease) => Some(lease),
        }
    }
}

pub(super) struct Registration {
    pub(super) coordinator: Arc<EtcdCoordinator>,
    pub(super) member: Member,
    pub(super) ttl: Duration,
    pub(super) state: watch::Sender<RegistrationState>,
    pub(super) gate: RenewalGate,
}

impl Registration {
    /// Registers the member, renews its lease, and registers it again when the lease is lost, while the gate is open.
    pub(super) async fn run(mut self) {
        let mut outage = OutageTracker::new();
        loop {
            self.gate.opened().await;
            let state = *self.state.borrow();
            let step = match state {
                RegistrationState::NoLease => self.grant_lease().await,
                RegistrationState::LeaseGranted(lease) => self.register(lease).await,
                RegistrationState::Registered(lease) => self.renew_lease(lease, &mut outage).await,
            };
            let Err(error) = step else { continue };
            if is_lease_lost(&error) {
                self.state.send_replace(RegistrationState::NoLease);
                outage.reset_backoff();
            }
            let message = format!("cannot keep {} registered with etcd; retrying", self.member.name);
            let delay = outage.record_failure(&message, &error, rand::random());
            // After an outage, others wait for a renewal no longer than the time to live.
            tokio::time::sleep(delay.min(self.ttl / 3)).await;
        }
    }

    async fn grant_lease(&self) -> Result<(), EtcdError> {
        let mut client = self.coordinator.client().await?;
        let seconds = self.ttl.as_secs_f64().ceil() as i64;
        let lease = with_timeout(client.lease_grant(seconds.max(1), None)).await?.id();
        self.state.send_replace(RegistrationState::LeaseGranted(lease));
        Ok(())
    }

    async fn register(&self, lease: i64) -> Result<(), EtcdError> {
        let mut client = self.coordinator.client().await?;
        let key = keys::member_key(self.member.role, &self.member.name);
        let options = PutOptions::new().with_lease(lease);
        with_timeout(client.put(key, keys::encode_member(&self.member), Some(options))).await?;
        self.state.send_replace(RegistrationState::Registered(lease));
        Ok(())
    }

    /// Renews the lease until that fails. An outage of etcd can last longer than the lease by this process's
    /// clock: only etcd knows whether the lease has expired.
    async fn renew_lease(&mut self, lease: i64, outage: &mut OutageTracker) -> Result<(), EtcdError> {
        let mut client = self.coordinator.client().await?;
        let (mut requests, mut responses) = with_timeout(client.lease_keep_alive(lease)).await?;
        outage.record_success(&format!("{} is registered with etcd", self.member.name));
        loop {
            tokio::time::sleep(self.ttl / 3).await;
            self.gate.opened().await;
            let renewal = async {
                requests.keep_alive().await?;
                responses.message().await
            };
            match timeout(self.ttl / 3, renewal).await {
                Ok(Ok(Some(renewed))) if renewed.ttl() > 0 => {}
                Ok(Ok(Some(_))) => return Err(EtcdError::LeaseLost),
                Ok(Ok(None)) => return Err(EtcdError::Closed),
                Ok(Err(error)) => return Err(error.into()),
                Err(_) => return Err(EtcdError::Timeout),
            }
        }
    }
}

/// Returns whether etcd reported that the lease does not exist. The client uses the same error types for some
/// failures of the connection, with other messages.
fn is_lease_lost(error: &EtcdError) -> bool {
    match error {
        EtcdError::LeaseLost => true,
        EtcdError::Client(Error::LeaseKeepAliveError(reason)) => reason.contains(LEASE_NOT_FOUND),
        EtcdError::Client(Error::GRpcStatus(status)) => status.message().contains(LEASE_NOT_FOUND),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lease_is_lost_only_when_etcd_reports_it() {
        let keep_alive_error =
            |reason: &str| EtcdError::Client(Error::LeaseKeepAliveError(reason.to_owned()));
        assert!(is_lease_lost(&EtcdError::LeaseLost) && is_lease_lost(&keep_alive_error("lease not found")));
        for error in [EtcdError::Timeout, EtcdError::Closed, keep_alive_error("channel closed")] {
            assert!(!is_lease_lost(&error), "{error}");
        }
    }
}
