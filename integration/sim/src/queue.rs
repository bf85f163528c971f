//! What happens next: events in the order of their time, and the dice that all chance comes from.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use rand::SeedableRng;
use rand::rngs::SmallRng;

use crate::coordinator::{Answer, Request};
use crate::network::{End, Payload};
use crate::plan::Node;

/// What a process has set its clock for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timer {
    /// It looks at the time.
    Tick,
    /// A sign of life to its followers.
    Beat,
    /// There may be news for its followers.
    Pump,
    /// It tries to open a stream to this aggregator.
    Connect(usize),
    /// It sees whether its streams are alive.
    Watch,
    /// It keeps its lease.
    KeepLease,
    /// A claim was not answered.
    ClaimDeadline(u64),
    /// It sends what has changed.
    Flush,
    /// It sends everything.
    FlushWhole,
    /// A request comes.
    Request,
    /// A request's first chunk comes.
    Began(u64),
    /// A request ends.
    Ended(u64),
    /// It reads its model servers.
    Read,
    /// Nothing was assigned on a stream.
    AssignDeadline(u64),
    /// It has lingered long enough.
    Exit,
}

/// What happens.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    Timer {
        node: Node,
        life: u32,
        timer: Timer,
    },
    Message {
        stream: u64,
        end: End,
        payload: Payload,
    },
    /// A process asks the coordinator.
    Asked {
        node: Node,
        life: u32,
        request: Request,
    },
    /// The coordinator tells a process.
    Answered {
        node: Node,
        life: u32,
        answer: Answer,
    },
    /// The coordinator looks at its leases.
    Leases,
    /// An aggregator learns of the pods that there are.
    Specified {
        node: Node,
        life: u32,
    },
    FaultBegins(usize),
    FaultEnds(usize),
    Start(Node),
    Heal,
}

#[derive(Debug)]
struct Due {
    at_us: u64,
    number: u64,
    event: Event,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at_us, self.number).cmp(&(other.at_us, other.number))
    }
}

/// What happens next, and when.
#[derive(Debug)]
pub(crate) struct Queue {
    due: BinaryHeap<Reverse<Due>>,
    number: u64,
    now_us: u64,
    pub(crate) dice: SmallRng,
}

impl Queue {
    pub(crate) fn new(seed: u64) -> Self {
        let dice = SmallRng::seed_from_u64(seed ^ 0x5167_6e61_6c62_6f78);
        Self { due: BinaryHeap::new(), number: 0, now_us: 0, dice }
    }

    pub(crate) fn now_us(&self) -> u64 {
        self.now_us
    }

    pub(crate) fn at_us(&mut self, at_us: u64, event: Event) {
        self.number += 1;
        self.due.push(Reverse(Due { at_us: at_us.max(self.now_us), number: self.number, event }));
    }

    pub(crate) fn after_us(&mut self, us: u64, event: Event) {
        self.at_us(self.now_us + us, event);
    }

    /// The next event, if it comes before `until_us`. Time moves on to it.
    pub(crate) fn next(&mut self, until_us: u64) -> Option<Event> {
        if self.due.peek().is_none_or(|Reverse(due)| due.at_us > until_us) {
            self.now_us = until_us;
            return None;
        }
        let Reverse(due) = self.due.pop()?;
        self.now_us = due.at_us;
        Some(due.event)
    }
}
