//! The immutable picture that a decision reads.

use std::sync::Arc;

use signalbox_prefix::{Index, Lookup};
use signalbox_types::{EndpointKey, Format, Load, Origin, Version};

use crate::bookings::{Bookings, Gauge};
use crate::picture::Member;
use crate::replica::Replica;

/// The pool at one version, and what this process has in flight at each of its endpoints.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// What it is the state at; `None` before the first snapshot.
    pub version: Option<Version>,
    /// By what its blocks were hashed.
    pub format: Format,
    /// The endpoints, in order of their keys.
    pub members: Vec<Arc<Member>>,
    /// Which blocks they hold. Live: it moves on with the pool while the rest stands still.
    pub index: Arc<Index>,
    /// When the owner was last heard, in milliseconds of this process's clock.
    pub heard_at_ms: u64,
    /// This process's gauges, in the order of `members`.
    gauges: Arc<[Arc<Gauge>]>,
}

impl View {
    /// The view of what `replica` holds. `before` lends what has not changed.
    pub fn next(before: &Self, replica: &Replica, bookings: &Bookings, heard_at_ms: u64) -> Self {
        let members: Vec<_> = replica.picture().members().cloned().collect();
        let same = members.iter().map(|member| member.key).eq(before.members.iter().map(|member| member.key));
        let gauges = if same {
            Arc::clone(&before.gauges)
        } else {
            members.iter().map(|member| bookings.gauge(member.key)).collect()
        };
        let index = Arc::clone(replica.picture().residents().index());
        Self { version: replica.version(), format: replica.format(), members, index, heard_at_ms, gauges }
    }

    /// Where `endpoint` stands among the members.
    pub fn position(&self, endpoint: EndpointKey) -> Option<usize> {
        self.members.binary_search_by_key(&endpoint, |member| member.key).ok()
    }

    /// Milliseconds since the owner was last heard.
    pub fn age_ms(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.heard_at_ms)
    }

    /// What this process knows better than the pool: its own work in flight, in the order of `members`.
    pub fn local(&self, origin: Origin, others: Others) -> Local {
        Local { origin, own: self.gauges.iter().map(|gauge| gauge.load()).collect(), others }
    }

    /// `lookup` in the order of `members`.
    pub fn matches(&self, lookup: &Lookup) -> Matches {
        let mut blocks = vec![0; self.members.len()];
        for (endpoint, held) in &lookup.held {
            if let Some(at) = self.position(*endpoint) {
                blocks[at] = *held;
            }
        }
        Matches { blocks }
    }
}

/// Whether what the view says of the other replicas' work in flight is recent enough to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Others {
    /// It counts.
    Current,
    /// The view is older than a replica may be silent: they may be gone.
    Outdated,
}

/// What this process knows better than the pool does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Local {
    /// This process: what the view says of its work in flight is older than `own`.
    pub origin: Origin,
    /// Its work in flight, in the order of the view's members.
    pub own: Vec<Load>,
    /// What the others' count for.
    pub others: Others,
}

impl Local {
    /// All work in flight at the member at `position`, so far as replicas gave it.
    pub fn load_at(&self, position: usize, member: &Member) -> Load {
        let own = self.own.get(position).copied().unwrap_or(Load::ZERO);
        match self.others {
            Others::Current => own + member.load_without(self.origin),
            Others::Outdated => own,
        }
    }
}

/// How many leading blocks of a request's prompt each endpoint holds, in the order of the view's members.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matches {
    /// The number of blocks.
    pub blocks: Vec<usize>,
}
