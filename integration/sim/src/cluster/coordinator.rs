//! Simulates the coordinator: leases with a time to live, one owner of the pool, and epochs that only
//! increase.

use std::collections::BTreeMap;
use std::sync::Arc;

use signalbox_signal::Signal;
use signalbox_state::{ClaimResult, ObservedOwner};

use crate::plan::Node;

/// A request from a process to the coordinator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    Register,
    KeepAlive(u64),
    Claim {
        lease: u64,
        /// The new epoch must be higher than this one.
        above: u64,
        /// The epoch of an owner that the claim may replace although it holds its lease.
        replacing: Option<u64>,
        /// Identifies the claim in the reply.
        number: u64,
    },
    Release(u64),
    Leave(u64),
    ReadRegistry,
}

/// A message from the coordinator to a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Registered(u64),
    LeaseLost(u64),
    ClaimResult(u64, ClaimResult),
    Registry(Registry),
}

impl Reply {
    /// Returns whether the task that renews the lease handles this reply.
    pub(crate) fn is_about_lease(&self) -> bool {
        matches!(self, Self::Registered(_) | Self::LeaseLost(_))
    }
}

/// The coordinator's public state at one revision: the pool's owner and the registered processes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Registry {
    pub(crate) revision: u64,
    owner: Option<(Node, u64)>,
    members: Vec<Node>,
}

impl Registry {
    /// Returns the owner as `node` sees it.
    pub(crate) fn owner_seen_by(&self, node: Node) -> ObservedOwner {
        match self.owner {
            None => ObservedOwner::Nobody,
            Some((owner, epoch)) if owner == node => ObservedOwner::Own(epoch),
            Some((owner, epoch)) => ObservedOwner::Other { name: owner.to_string(), epoch },
        }
    }

    pub(crate) fn member_names(&self) -> Vec<String> {
        self.members.iter().map(Node::to_string).collect()
    }
}

#[derive(Debug)]
struct Lease {
    node: Node,
    ends_at_us: u64,
}

/// The coordinator. Its state survives an outage.
#[derive(Debug)]
pub(crate) struct Coordinator {
    pub(crate) is_down: bool,
    /// How long a lease lasts without renewal, in microseconds.
    ttl_us: u64,
    leases: BTreeMap<u64, Lease>,
    leases_granted: u64,
    /// The owner's lease, node and epoch.
    owner: Option<(u64, Node, u64)>,
    /// The highest epoch so far.
    epoch: Option<u64>,
    /// Who owned the pool before, and under which epoch.
    previous: Option<(Node, u64)>,
    revision: u64,
    /// When the pool lost its owner.
    pub(crate) vacant_since_us: Option<u64>,
    /// The signal that an owner has stored last.
    pub(crate) signal: Option<Arc<Signal>>,
}

impl Coordinator {
    pub(crate) fn new(ttl_us: u64) -> Self {
        Self {
            is_down: false,
            ttl_us,
            leases: BTreeMap::new(),
            leases_granted: 0,
            owner: None,
            epoch: None,
            previous: None,
            revision: 0,
            vacant_since_us: None,
            signal: None,
        }
    }

    /// Returns the highest epoch so far; 0 if there was none.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.unwrap_or(0)
    }

    pub(crate) fn registry(&self) -> Registry {
        let mut members: Vec<_> = self.leases.values().map(|lease| lease.node).collect();
        members.dedup();
        let owner = self.owner.map(|(_, node, epoch)| (node, epoch));
        Registry { revision: self.revision, owner, members }
    }

    /// Ends an outage. All leases start over, because none could be renewed during the outage.
    pub(crate) fn recover(&mut self, now_us: u64) {
        self.is_down = false;
        self.leases.values_mut().for_each(|lease| lease.ends_at_us = now_us + self.ttl_us);
    }

    /// Ends leases that were not renewed, and returns whether there were any.
    pub(crate) fn expire_leases(&mut self, now_us: u64) -> bool {
        let expired = self.leases.iter().filter(|(_, lease)| lease.ends_at_us <= now_us);
        let expired: Vec<_> = expired.map(|(id, _)| *id).collect();
        expired.iter().for_each(|id| self.end_lease(now_us, *id));
        !expired.is_empty()
    }

    /// Ends the leases of a process although it renews them.
    pub(crate) fn revoke(&mut self, now_us: u64, node: Node) {
        let held = self.leases.iter().filter(|(_, lease)| lease.node == node);
        let held: Vec<_> = held.map(|(id, _)| *id).collect();
        held.into_iter().for_each(|id| self.end_lease(now_us, id));
    }

    /// Returns to an older history, in which the owner before the last one owns the pool, under its epoch. Nobody renews its
    /// lease of then.
    pub(crate) fn rewind(&mut self, now_us: u64) {
        let Some((node, epoch)) = self.previous.take() else { return };
        self.leases_granted += 1;
        self.leases.insert(self.leases_granted, Lease { node, ends_at_us: now_us + self.ttl_us });
        self.owner = Some((self.leases_granted, node, epoch));
        self.epoch = Some(epoch);
        self.vacant_since_us = None;
        self.revision += 1;
    }

    fn end_lease(&mut self, now_us: u64, id: u64) {
        self.leases.remove(&id);
        self.release(now_us, id);
        self.revision += 1;
    }

    fn release(&mut self, now_us: u64, id: u64) {
        if self.owner.take_if(|(lease, _, _)| *lease == id).is_some() {
            self.vacant_since_us = Some(now_us);
            self.revision += 1;
        }
    }

    /// Handles a request from `node` and returns the reply, if the request has one.
    pub(crate) fn serve(&mut self, now_us: u64, node: Node, request: Request) -> Option<Reply> {
        let ends_at_us = now_us + self.ttl_us;
        match request {
            Request::Register => {
                self.leases_granted += 1;
                self.leases.insert(self.leases_granted, Lease { node, ends_at_us });
                self.revision += 1;
                Some(Reply::Registered(self.leases_granted))
            }
            Request::KeepAlive(id) => match self.leases.get_mut(&id) {
                Some(lease) => {
                    lease.ends_at_us = ends_at_us;
                    None
                }
                None => Some(Reply::LeaseLost(id)),
            },
            Request::Claim { lease, above, replacing, number } => {
                let result = self.claim(node, lease, above, replacing);
                Some(Reply::ClaimResult(number, result))
            }
            Request::Release(id) => {
                self.release(now_us, id);
                None
            }
            Request::Leave(id) => {
                self.end_lease(now_us, id);
                None
            }
            Request::ReadRegistry => Some(Reply::Registry(self.registry())),
        }
    }

    fn claim(&mut self, node: Node, lease: u64, above: u64, replacing: Option<u64>) -> ClaimResult {
        if !self.leases.contains_key(&lease) {
            return ClaimResult::Unanswered;
        }
        let is_refused =
            |(holder, _, epoch): &(u64, Node, u64)| *holder != lease && replacing != Some(*epoch);
        if let Some((_, _, epoch)) = self.owner.filter(is_refused) {
            return ClaimResult::Held(epoch);
        }
        let epoch = self.epoch.unwrap_or(0).max(above) + 1;
        let is_first = self.epoch.is_none();
        self.previous = self.owner.map(|(_, node, epoch)| (node, epoch)).or(self.previous);
        self.epoch = Some(epoch);
        self.owner = Some((lease, node, epoch));
        self.vacant_since_us = None;
        self.revision += 1;
        ClaimResult::Won { epoch, is_first }
    }
}
