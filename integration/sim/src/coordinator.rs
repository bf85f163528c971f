//! The coordinator: leases with a time to live, one owner of the pool, epochs that only grow.

use std::collections::BTreeMap;

use signalbox_state::{ClaimResult, ObservedOwner};

use crate::plan::Node;

/// How long a lease lasts that is not kept.
pub(crate) const LEASE_TTL_US: u64 = 2_000_000;

/// What a process asks of the coordinator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    Register,
    KeepAlive(u64),
    Claim {
        lease: u64,
        above: u64,
        number: u64,
    },
    Release(u64),
    Leave(u64),
    /// It looks at what there is to be seen.
    Look,
}

/// What the coordinator tells a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Registered(u64),
    LeaseLost(u64),
    ClaimResult(u64, ClaimResult),
    Noticed(Notice),
}

/// What there is to be seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Notice {
    pub(crate) revision: u64,
    owner: Option<(Node, u64)>,
    members: Vec<Node>,
}

impl Notice {
    /// As `node` sees it.
    pub(crate) fn seen_by(&self, node: Node) -> ObservedOwner {
        match self.owner {
            None => ObservedOwner::Nobody,
            Some((owner, epoch)) if owner == node => ObservedOwner::Own(epoch),
            Some((_, epoch)) => ObservedOwner::Other(epoch),
        }
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.members.iter().map(Node::to_string).collect()
    }
}

#[derive(Debug)]
struct Lease {
    node: Node,
    ends_at_us: u64,
}

/// The coordinator. What it knows survives its absence.
#[derive(Debug, Default)]
pub(crate) struct Coordinator {
    pub(crate) is_away: bool,
    leases: BTreeMap<u64, Lease>,
    granted: u64,
    owner: Option<(u64, Node, u64)>,
    epoch: Option<u64>,
    revision: u64,
    /// When the pool lost its owner.
    pub(crate) vacant_since_us: Option<u64>,
}

impl Coordinator {
    pub(crate) fn notice(&self) -> Notice {
        let mut members: Vec<_> = self.leases.values().map(|lease| lease.node).collect();
        members.dedup();
        let owner = self.owner.map(|(_, node, epoch)| (node, epoch));
        Notice { revision: self.revision, owner, members }
    }

    /// It is back. Nobody could keep a lease meanwhile, so that all last as long as new ones.
    pub(crate) fn is_back(&mut self, now_us: u64) {
        self.is_away = false;
        self.leases.values_mut().for_each(|lease| lease.ends_at_us = now_us + LEASE_TTL_US);
    }

    /// Ends leases that nobody kept; says whether there were any.
    pub(crate) fn expire(&mut self, now_us: u64) -> bool {
        let over = self.leases.iter().filter(|(_, lease)| lease.ends_at_us <= now_us);
        let over: Vec<_> = over.map(|(id, _)| *id).collect();
        over.iter().for_each(|id| self.end(now_us, *id));
        !over.is_empty()
    }

    fn end(&mut self, now_us: u64, id: u64) {
        self.leases.remove(&id);
        self.give_up(now_us, id);
        self.revision += 1;
    }

    fn give_up(&mut self, now_us: u64, id: u64) {
        if self.owner.take_if(|(lease, _, _)| *lease == id).is_some() {
            self.vacant_since_us = Some(now_us);
            self.revision += 1;
        }
    }

    /// Does what `node` asks.
    pub(crate) fn serve(&mut self, now_us: u64, node: Node, request: Request) -> Option<Answer> {
        let ends_at_us = now_us + LEASE_TTL_US;
        match request {
            Request::Register => {
                self.granted += 1;
                self.leases.insert(self.granted, Lease { node, ends_at_us });
                self.revision += 1;
                Some(Answer::Registered(self.granted))
            }
            Request::KeepAlive(id) => match self.leases.get_mut(&id) {
                Some(lease) => {
                    lease.ends_at_us = ends_at_us;
                    None
                }
                None => Some(Answer::LeaseLost(id)),
            },
            Request::Claim { lease, above, number } => {
                let claimed = self.claim(node, lease, above);
                Some(Answer::ClaimResult(number, claimed))
            }
            Request::Release(id) => {
                self.give_up(now_us, id);
                None
            }
            Request::Leave(id) => {
                self.end(now_us, id);
                None
            }
            Request::Look => Some(Answer::Noticed(self.notice())),
        }
    }

    fn claim(&mut self, node: Node, lease: u64, above: u64) -> ClaimResult {
        if !self.leases.contains_key(&lease) {
            return ClaimResult::Unanswered;
        }
        if let Some((_, _, epoch)) = self.owner.filter(|(holder, _, _)| *holder != lease) {
            return ClaimResult::Held(epoch);
        }
        let epoch = self.epoch.unwrap_or(0).max(above) + 1;
        let is_first = self.epoch.is_none();
        self.epoch = Some(epoch);
        self.owner = Some((lease, node, epoch));
        self.vacant_since_us = None;
        self.revision += 1;
        ClaimResult::Won { epoch, is_first }
    }
}
