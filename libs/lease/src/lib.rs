//! Who is there, and who owns which pool.
//!
//! A [`Coordinator`] knows the processes that live and the owner of each pool; it is in etcd, or in this process for one that has no
//! others. Both behave the same: `integration/tests/lease` runs one suite over both. Nothing on the path of a request needs it: while
//! it is away the last that it said stays.

mod board;
mod discovery;
mod etcd;
mod flags;
mod keys;
mod ledger;
mod local;
mod session;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use signalbox_types::{PeerAddress, PoolId};
use thiserror::Error;
use tokio::sync::watch;

pub use discovery::aggregators;
pub use etcd::{EtcdSettings, Login, TlsFiles};
pub use flags::{CoordinatorFlags, FlagError};
pub use session::Session;

use board::Board;
use session::Lease;

/// What a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Owns pools, or stands by to.
    Aggregator,
    /// Reads model servers.
    Collector,
    /// Answers gateways.
    Epp,
}

/// A process that lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// What it is.
    pub role: Role,
    /// Its name, unlike any other's in its role.
    pub name: String,
    /// Where others reach it, if they have to.
    pub address: Option<PeerAddress>,
}

/// Who owns a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The aggregator's name.
    pub name: String,
    /// Where it is.
    pub address: PeerAddress,
    /// Under which epoch it owns the pool.
    pub epoch: u64,
}

/// What is known of a pool's owner.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum OwnerSeen {
    /// The coordinator was never heard.
    #[default]
    Unknown,
    /// Nobody owns the pool.
    Nobody,
    /// Somebody does.
    Owned(Owner),
}

/// A claim that was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Above every epoch of the pool that was minted before.
    pub epoch: u64,
    /// The last epoch before it; `None`: the coordinator knows of no owner before.
    pub previous: Option<u64>,
}

impl Claim {
    /// The next claim on a pool whose last epoch was `previous`: `max(previous, floor) + 1`.
    fn next(previous: Option<u64>, floor: u64) -> Result<Self, ClaimError> {
        let last = previous.unwrap_or(0).max(floor);
        // Nobody gets there by counting: an epoch that somebody made up came this far.
        let epoch = last
            .checked_add(1)
            .ok_or_else(|| ClaimError::Unavailable(format!("no epoch is above {last}")))?;
        Ok(Self { epoch, previous })
    }
}

/// Why a claim was not granted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ClaimError {
    /// The pool is another session's.
    #[error("{} owns the pool under epoch {}", .0.name, .0.epoch)]
    Held(Owner),
    /// The coordinator cannot be asked, or this process is not registered with it.
    #[error("the pool cannot be claimed: {0}")]
    Unavailable(String),
}

/// The coordinator cannot be asked at the moment.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the coordinator cannot be asked: {0}")]
pub struct Unavailable(pub(crate) String);

/// Knows who is there, and who owns which pool. Clones are the same coordinator.
#[derive(Clone, Debug)]
pub struct Coordinator(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Local(Arc<local::Hub>),
    Etcd(Arc<etcd::Hub>),
}

impl Coordinator {
    /// One in this process, which remembers nothing of what was before.
    pub fn in_process() -> Self {
        Self(Kind::Local(Arc::default()))
    }

    /// One in etcd. It need not be there yet: it is looked for again and again, in the background.
    pub fn etcd(settings: EtcdSettings) -> Self {
        Self(Kind::Etcd(etcd::Hub::start(settings)))
    }

    /// Registers `member`, and keeps it registered in the background until the session is left. When the session is dropped instead,
    /// or the process dies, the others see it for `ttl` still. etcd counts in seconds, two at least.
    pub fn join(&self, member: Member, ttl: Duration) -> Session {
        let (role, name, address) = (member.role, member.name.clone(), member.address.clone());
        let lease = match &self.0 {
            Kind::Local(hub) => Lease::Local(local::Lease::start(Arc::clone(hub), member, ttl)),
            Kind::Etcd(hub) => Lease::Etcd(etcd::Lease::start(Arc::clone(hub), member, ttl)),
        };
        tracing::debug!(?role, name, "registers");
        Session { name, address, lease }
    }

    /// The members of a role that live, by name.
    pub fn members(&self, role: Role) -> watch::Receiver<Vec<Member>> {
        self.board().members(role)
    }

    /// The owner of a pool.
    pub fn owner(&self, pool: &PoolId) -> watch::Receiver<OwnerSeen> {
        self.board().owner(pool)
    }

    /// Leaves `signal`, whatever it says, for whoever takes the pool over.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn publish(&self, pool: &PoolId, signal: Bytes) -> Result<(), Unavailable> {
        match &self.0 {
            Kind::Local(hub) => hub.publish(pool, &signal),
            Kind::Etcd(hub) => return hub.publish(pool, signal).await,
        }
        Ok(())
    }

    /// The signal that was left last.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn published(&self, pool: &PoolId) -> Result<Option<Bytes>, Unavailable> {
        match &self.0 {
            Kind::Local(hub) => Ok(hub.published(pool)),
            Kind::Etcd(hub) => hub.published(pool).await,
        }
    }

    fn board(&self) -> &Board {
        match &self.0 {
            Kind::Local(hub) => &hub.board,
            Kind::Etcd(hub) => &hub.board,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_is_above_all_before_and_there_is_none_above_the_last() {
        assert_eq!(Ok(Claim { epoch: 1, previous: None }), Claim::next(None, 0));
        assert_eq!(Ok(Claim { epoch: 8, previous: Some(7) }), Claim::next(Some(7), 3));
        assert_eq!(Ok(Claim { epoch: 10, previous: Some(7) }), Claim::next(Some(7), 9));
        assert!(matches!(Claim::next(Some(7), u64::MAX), Err(ClaimError::Unavailable(_))));
    }
}
