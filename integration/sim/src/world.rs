//! The whole site: processes come and go, events find whom they are for, and all is watched.

use std::collections::BTreeMap;

use signalbox_state::{PoolRole, RoleStatus};

use crate::aggregator::Aggregator;
use crate::collector::Collector;
use crate::counters::{Counters, Happening};
use crate::invariants::{Invariant, Violation};
use crate::network::{End, Payload};
use crate::plan::{Blow, Fault, Node, Plan};
use crate::queue::{Event, Timer};
use crate::replica::Replica;
use crate::site::{Site, Tracing};

/// How often leases and owners are looked at.
const LOOK_US: u64 = 25_000;

/// Quiet after which no more than one aggregator owns the pool.
const DEPOSED_WITHIN_US: u64 = 4_000_000;

/// Quiet after which an aggregator owns the pool: a lease runs out, and the next one takes over.
const OWNED_WITHIN_US: u64 = 7_000_000;

/// After that it is without one for at most so long, when one leaves it to another.
const LEFT_FOR_US: u64 = 3_000_000;

#[derive(Debug)]
pub(crate) enum Process {
    Aggregator(Box<Aggregator>),
    Replica(Box<Replica>),
    Collector(Collector),
}

/// A site.
#[derive(Debug)]
pub struct World {
    pub(crate) site: Site,
    pub(crate) processes: BTreeMap<Node, Process>,
    /// What came for those that are paused.
    backlogs: BTreeMap<Node, Vec<Event>>,
    /// Streams of lost machines, whose other ends have not been told.
    vanished: BTreeMap<Node, Vec<u64>>,
    disturbed_until_us: u64,
    owners: usize,
    owned_at_us: u64,
}

impl World {
    /// A site as `plan` has it, in which nothing has happened yet.
    pub fn new(plan: &Plan, tracing: Tracing) -> Self {
        let mut site = Site::new(plan, tracing);
        for node in plan.nodes() {
            let after_us = rand::Rng::random_range(&mut site.queue.dice, 0..300_000);
            site.queue.after_us(after_us, Event::Start(node));
        }
        for (at, fault) in plan.faults.iter().enumerate() {
            site.queue.at_us(fault.at_ms * 1_000, Event::FaultBegins(at));
            site.queue.at_us((fault.at_ms + fault.for_ms) * 1_000, Event::FaultEnds(at));
        }
        site.queue.at_us(plan.heals_at_ms * 1_000, Event::Heal);
        site.queue.after_us(0, Event::Leases);
        Self {
            site,
            processes: BTreeMap::new(),
            backlogs: BTreeMap::new(),
            vanished: BTreeMap::new(),
            disturbed_until_us: 0,
            owners: 0,
            owned_at_us: 0,
        }
    }

    /// Lets things happen until `until_ms` from the beginning.
    ///
    /// # Errors
    /// The first invariant that does not hold.
    pub fn run_until(&mut self, until_ms: u64) -> Result<(), Violation> {
        while let Some(event) = self.site.queue.next(until_ms * 1_000) {
            self.site.counters.count(Happening::Event);
            self.site.checker.now_us = self.site.queue.now_us();
            self.happen(event);
            if let Some(violation) = self.site.checker.violation.clone() {
                return Err(violation);
            }
        }
        Ok(())
    }

    /// Lets something go wrong now, for a while.
    pub fn strike(&mut self, blow: Blow, for_ms: u64) {
        let at_ms = self.site.queue.now_us() / 1_000;
        let at = self.site.plan.faults.len();
        self.site.plan.faults.push(Fault { at_ms, for_ms, blow });
        self.site.queue.after_us(0, Event::FaultBegins(at));
        self.site.queue.after_us(for_ms * 1_000, Event::FaultEnds(at));
    }

    /// What happened so far.
    pub fn counters(&self) -> Counters {
        let mut counters = self.site.counters;
        counters.add(Happening::MessageLost, self.site.network.lost);
        counters.add(Happening::MessageRepeated, self.site.network.repeated);
        counters.add(Happening::StreamBroken, self.site.network.broken);
        counters
    }

    /// The last that happened, in words.
    pub fn trace(&mut self) -> Vec<String> {
        self.site.take_trace()
    }

    /// The seats of aggregators that live, and where each is.
    pub fn seats(&self) -> impl Iterator<Item = (Node, &PoolRole)> {
        self.processes.iter().filter_map(|(node, process)| match process {
            Process::Aggregator(aggregator) => Some((*node, &aggregator.role)),
            Process::Replica(_) | Process::Collector(_) => None,
        })
    }

    /// The aggregators that own the pool, and the epoch of each.
    pub fn owners(&self) -> Vec<(Node, u64)> {
        let standing = self.seats().map(|(node, role)| (node, role.standing()));
        let owner = |(node, standing)| match standing {
            RoleStatus::Owner(epoch) => Some((node, epoch)),
            RoleStatus::Standby | RoleStatus::TakingOver(_) => None,
        };
        standing.filter_map(owner).collect()
    }

    /// When the pool's last owner lost its lease, if nobody has claimed the pool since; in milliseconds.
    pub fn vacant_since_ms(&self) -> Option<u64> {
        self.site.coordinator.vacant_since_us.map(|us| us / 1_000)
    }

    fn happen(&mut self, event: Event) {
        let Some(event) = self.unless_paused(event) else { return };
        match event {
            Event::Timer { node, life, timer } if self.lives(node, life) => self.timer(node, timer),
            Event::Timer { .. } => {}
            Event::Message { stream, end, payload } => self.message(stream, end, payload),
            Event::Asked { node, life, request } => self.site.asked(node, life, request),
            Event::Answered { node, life, answer } if self.lives(node, life) => {
                if let Some(Process::Aggregator(aggregator)) = self.processes.get_mut(&node) {
                    aggregator.answered(&mut self.site, answer);
                }
            }
            Event::Specified { node, life } if self.lives(node, life) => {
                if let Some(Process::Aggregator(aggregator)) = self.processes.get_mut(&node) {
                    aggregator.specified(&mut self.site);
                }
            }
            Event::Answered { .. } | Event::Specified { .. } => {}
            Event::Leases => self.look(),
            Event::FaultBegins(at) => self.begin_fault(at),
            Event::FaultEnds(at) => self.end_fault(at),
            Event::Start(node) => self.start(node),
            Event::Heal => {
                self.site.network.heal();
                self.site.is_open = false;
                self.disturb();
                self.site.note(|| "everything heals, and no more requests come".to_owned());
            }
        }
    }

    fn lives(&self, node: Node, number: u32) -> bool {
        self.site.lives.get(&node).is_some_and(|life| life.number == number)
    }

    /// Keeps for later what is for a process that is paused.
    fn unless_paused(&mut self, event: Event) -> Option<Event> {
        let node = match &event {
            Event::Timer { node, .. } | Event::Answered { node, .. } | Event::Specified { node, .. } => *node,
            Event::Message { stream, end, .. } => self.site.network.stream(*stream)?.of(*end).0,
            _ => return Some(event),
        };
        if self.site.lives.get(&node).is_some_and(|life| life.is_paused) {
            self.backlogs.entry(node).or_default().push(event);
            return None;
        }
        Some(event)
    }

    fn timer(&mut self, node: Node, timer: Timer) {
        if timer == Timer::Exit {
            return self.stop(node);
        }
        match self.processes.get_mut(&node) {
            Some(Process::Aggregator(aggregator)) => aggregator.timer(&mut self.site, timer),
            Some(Process::Replica(replica)) => replica.timer(&mut self.site, timer),
            Some(Process::Collector(collector)) => collector.timer(&mut self.site, timer),
            None => {}
        }
    }

    fn message(&mut self, stream: u64, end: End, payload: Payload) {
        if !self.site.network.arrives(stream, end, &payload) {
            return;
        }
        let Some((node, life)) = self.site.network.stream(stream).map(|stream| stream.of(end)) else {
            return;
        };
        if !self.lives(node, life) {
            return;
        }
        match self.processes.get_mut(&node) {
            Some(Process::Aggregator(aggregator)) => aggregator.message(&mut self.site, stream, end, payload),
            Some(Process::Replica(replica)) => replica.message(&mut self.site, stream, payload),
            Some(Process::Collector(collector)) => collector.message(&mut self.site, stream, payload),
            None => {}
        }
    }

    /// A process begins, unless it lives.
    pub(crate) fn start(&mut self, node: Node) {
        if self.site.lives.contains_key(&node) {
            return;
        }
        for stream in self.vanished.remove(&node).unwrap_or_default() {
            self.site.network.break_off(&mut self.site.queue, stream);
        }
        let site = &mut self.site;
        let life = site.begin(node);
        site.note(|| format!("{node} begins its life {life}"));
        let process = match node {
            Node::Aggregator(_) => Process::Aggregator(Box::new(Aggregator::start(site, node, life))),
            Node::Replica(_) => Process::Replica(Box::new(Replica::start(site, node, life))),
            Node::Collector(_) => Process::Collector(Collector::start(site, node)),
            Node::Coordinator => return,
        };
        self.processes.insert(node, process);
    }

    /// A process is gone; its peers are told.
    pub(crate) fn stop(&mut self, node: Node) {
        self.vanish(node);
        for stream in self.vanished.remove(&node).unwrap_or_default() {
            self.site.network.break_off(&mut self.site.queue, stream);
        }
    }

    /// A process is gone; nobody is told.
    pub(crate) fn vanish(&mut self, node: Node) {
        if let Some(Process::Replica(mut replica)) = self.processes.remove(&node) {
            replica.end_all(&mut self.site);
        }
        self.site.lives.remove(&node);
        self.backlogs.remove(&node);
        let streams = self.site.network.streams_of(node).into_iter().map(|(stream, _)| stream).collect();
        self.vanished.insert(node, streams);
    }

    pub(crate) fn pause(&mut self, node: Node) {
        self.site.lives.entry(node).and_modify(|life| life.is_paused = true);
    }

    pub(crate) fn resume(&mut self, node: Node) {
        self.site.lives.entry(node).and_modify(|life| life.is_paused = false);
        for event in self.backlogs.remove(&node).unwrap_or_default() {
            self.site.queue.after_us(0, event);
        }
    }

    /// Something has begun or ended.
    pub(crate) fn disturb(&mut self) {
        self.disturbed_until_us = self.site.queue.now_us();
    }

    fn quiet_us(&self) -> u64 {
        let ongoing = self.site.plan.faults.iter().any(|fault| {
            let (at_us, for_us) = (fault.at_ms * 1_000, fault.for_ms * 1_000);
            (at_us..=at_us + for_us).contains(&self.site.queue.now_us())
        });
        if ongoing { 0 } else { self.site.queue.now_us() - self.disturbed_until_us }
    }

    /// What the coordinator and whoever watches the site do all the time.
    fn look(&mut self) {
        let now_us = self.site.queue.now_us();
        if !self.site.coordinator.is_away && self.site.coordinator.expire(now_us) {
            self.site.notice_all();
        }
        let owners = self.owners();
        if owners.len() > 1 && self.owners <= 1 {
            self.site.counters.count(Happening::SplitBrain);
        }
        self.owners = owners.len();
        let quiet_us = self.quiet_us();
        let is_settled = self.site.plan.links.lost_ppm == 0 || !self.site.is_open;
        if is_settled && owners.len() > 1 && quiet_us >= DEPOSED_WITHIN_US {
            self.site.checker.fail(Invariant::DeposedStepsDown, || format!("{owners:?} own the pool"));
        }
        if !owners.is_empty() {
            self.owned_at_us = now_us;
        }
        if is_settled && now_us > self.owned_at_us + LEFT_FOR_US && quiet_us >= OWNED_WITHIN_US {
            let standing: Vec<_> = self.seats().map(|(node, role)| (node, role.standing())).collect();
            self.site.checker.fail(Invariant::PoolIsOwned, || format!("{standing:?}"));
        }
        self.site.queue.after_us(LOOK_US, Event::Leases);
    }
}
