//! Runs a simulation: starts and stops processes and delivers events to them.

mod backlog;
mod faults;
mod neighbours;
mod ownership;
mod settled;

use std::collections::BTreeMap;

use rand::Rng;
use signalbox_state::PoolRole;

use self::ownership::OwnershipHistory;
use crate::cluster::event::{Event, Timer};
use crate::cluster::message::{End, Payload};
use crate::cluster::work::Busy;
use crate::cluster::{Cluster, Tracing};
use crate::counters::{Counter, Counters};
use crate::invariants::Violation;
use crate::plan::{Fault, FaultKind, Node, Plan, SlowNodes, Work};
use crate::processes::Process;
use crate::processes::aggregator::Aggregator;
use crate::processes::collector::Collector;
use crate::processes::replica::Replica;

/// A simulated cluster with its processes.
#[derive(Debug)]
pub struct World {
    pub(crate) cluster: Cluster,
    processes: BTreeMap<Node, Process>,
    /// The streams of lost machines. Their other ends learn of the loss when the process restarts.
    orphaned_streams: BTreeMap<Node, Vec<u64>>,
    ownership: OwnershipHistory,
}

impl World {
    /// Creates the cluster of `plan` at time zero.
    pub fn new(plan: &Plan, tracing: Tracing) -> Self {
        let mut cluster = Cluster::new(plan, tracing);
        for node in plan.nodes() {
            let after_us = cluster.queue.rng.random_range(0..300_000);
            cluster.queue.schedule_after_us(after_us, Event::Start(node));
        }
        for (at, fault) in plan.faults.iter().enumerate() {
            cluster.queue.schedule_at_us(fault.at_ms * 1_000, Event::FaultStart(at));
            cluster.queue.schedule_at_us((fault.at_ms + fault.for_ms) * 1_000, Event::FaultEnd(at));
        }
        cluster.queue.schedule_at_us(plan.heals_at_ms * 1_000, Event::Heal);
        cluster.queue.schedule_after_us(0, Event::CheckLeases);
        Self {
            cluster,
            processes: BTreeMap::new(),
            orphaned_streams: BTreeMap::new(),
            ownership: OwnershipHistory::default(),
        }
    }

    /// Runs until `until_ms` milliseconds after the start.
    ///
    /// # Errors
    /// The first violated invariant.
    pub fn run_until(&mut self, until_ms: u64) -> Result<(), Violation> {
        while let Some(event) = self.cluster.queue.pop_until(until_ms * 1_000) {
            self.cluster.counters.increment(Counter::Event);
            self.cluster.checker.now_us = self.cluster.queue.now_us();
            self.dispatch(event);
            if let Some(violation) = self.cluster.checker.violation.clone() {
                return Err(violation);
            }
        }
        Ok(())
    }

    /// Starts a fault now that lasts `for_ms` milliseconds.
    pub fn inject(&mut self, kind: FaultKind, for_ms: u64) {
        let at_ms = self.cluster.queue.now_us() / 1_000;
        let at = self.cluster.plan.faults.len();
        self.cluster.plan.faults.push(Fault { at_ms, for_ms, kind });
        self.cluster.queue.schedule_after_us(0, Event::FaultStart(at));
        self.cluster.queue.schedule_after_us(for_ms * 1_000, Event::FaultEnd(at));
    }

    /// Changes how long processes take for what they do. What they are busy with ends now.
    pub fn set_work(&mut self, work: Work) {
        self.cluster.plan.work = work;
        // What slow processes have sent leaves late.
        let arrived_us = self.cluster.network.last_arrival_us().max(self.cluster.queue.now_us());
        self.cluster.work_settled_ms = arrived_us / 1_000;
        self.cluster.runs.values_mut().for_each(|run| run.busy = Busy::default());
        let waiting: Vec<Node> = self.cluster.actor_queues.keys().copied().collect();
        waiting.into_iter().for_each(|node| self.continue_when_done(node));
    }

    /// Returns the counters of the run so far.
    pub fn counters(&self) -> Counters {
        let mut counters = self.cluster.counters;
        counters.add(Counter::MessageLost, self.cluster.network.lost);
        counters.add(Counter::MessageDuplicated, self.cluster.network.duplicated);
        counters.add(Counter::StreamBroken, self.cluster.network.broken);
        counters
    }

    /// Removes and returns the lines of the trace.
    pub fn take_trace(&mut self) -> Vec<String> {
        self.cluster.take_trace()
    }

    /// Returns the running aggregators with their roles.
    pub fn roles(&self) -> impl Iterator<Item = (Node, &PoolRole)> {
        self.processes.iter().filter_map(|(node, process)| match process {
            Process::Aggregator(aggregator) => Some((*node, &aggregator.role)),
            Process::Replica(_) | Process::Collector(_) => None,
        })
    }

    /// Returns when the pool's last owner lost its lease, in milliseconds, unless the pool was claimed since.
    pub fn vacant_since_ms(&self) -> Option<u64> {
        self.cluster.coordinator.vacant_since_us.map(|us| us / 1_000)
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Timer { node, run, timer } if self.is_current_run(node, run) => self.on_timer(node, timer),
            Event::Timer { .. } => {}
            Event::Message { stream, end, payload } => self.on_message(stream, end, payload),
            Event::CoordinatorRequest { node, run, request } => {
                self.cluster.serve_coordinator_request(node, run, request);
            }
            Event::CoordinatorReply { node, run, reply } if self.is_current_run(node, run) => {
                if let Some(Process::Aggregator(aggregator)) = self.processes.get_mut(&node) {
                    aggregator.on_coordinator_reply(&mut self.cluster, reply);
                }
            }
            Event::EndpointsChanged { node, run } if self.is_current_run(node, run) => {
                if let Some(Process::Aggregator(aggregator)) = self.processes.get_mut(&node) {
                    aggregator.update_endpoints(&mut self.cluster);
                }
            }
            Event::FeedbackRest { node, run, stream, rest } if self.is_current_run(node, run) => {
                if let Some(Process::Aggregator(aggregator)) = self.processes.get_mut(&node) {
                    aggregator.continue_feedback(&mut self.cluster, stream, rest);
                }
            }
            Event::CoordinatorReply { .. }
            | Event::EndpointsChanged { .. }
            | Event::FeedbackRest { .. }
            | Event::Continue { .. } => {}
            Event::Freeze { node, run } => self.freeze(node, run),
            Event::CheckLeases => self.check_leases(),
            Event::CheckDraining(at) => self.check_draining(at),
            Event::FaultStart(at) => self.start_fault(at),
            Event::FaultEnd(at) => self.end_fault(at),
            Event::Start(node) => self.start(node),
            Event::Heal => {
                self.cluster.network.heal();
                self.cluster.plan.work.slow = SlowNodes::None;
                self.cluster.accepts_requests = false;
                self.cluster.trace(|| "everything heals, and no more requests arrive".to_owned());
            }
        }
    }

    fn is_current_run(&self, node: Node, number: u32) -> bool {
        self.cluster.runs.get(&node).is_some_and(|run| run.number == number)
    }

    fn on_timer(&mut self, node: Node, timer: Timer) {
        if timer == Timer::Exit {
            return self.stop(node);
        }
        match self.processes.get_mut(&node) {
            Some(Process::Aggregator(aggregator)) => aggregator.on_timer(&mut self.cluster, timer),
            Some(Process::Replica(replica)) => replica.on_timer(&mut self.cluster, timer),
            Some(Process::Collector(collector)) => collector.on_timer(&mut self.cluster, timer),
            None => {}
        }
    }

    fn on_message(&mut self, stream: u64, end: End, payload: Payload) {
        let cluster = &mut self.cluster;
        if !cluster.network.accept(stream, end, &payload) {
            return;
        }
        let Some((node, run)) = cluster.network.stream(stream).map(|stream| stream.process_at(end)) else {
            return;
        };
        if !self.is_current_run(node, run) {
            return;
        }
        match self.processes.get_mut(&node) {
            Some(Process::Aggregator(aggregator)) => {
                aggregator.on_message(&mut self.cluster, stream, end, payload);
            }
            Some(Process::Replica(replica)) => replica.on_message(&mut self.cluster, stream, payload),
            Some(Process::Collector(collector)) => collector.on_message(&mut self.cluster, stream, payload),
            None => {}
        }
    }

    /// Starts a process, unless it is running.
    fn start(&mut self, node: Node) {
        if self.cluster.runs.contains_key(&node) {
            return;
        }
        self.reset_orphaned_streams(node);
        let cluster = &mut self.cluster;
        let run = cluster.start_run(node);
        cluster.trace(|| format!("{node} starts run {run}"));
        let process = match node {
            Node::Aggregator(_) => Process::Aggregator(Box::new(Aggregator::start(cluster, node, run))),
            Node::Replica(_) => Process::Replica(Box::new(Replica::start(cluster, node, run))),
            Node::Collector(_) => Process::Collector(Collector::start(cluster, node, run)),
            Node::Coordinator => return,
        };
        self.processes.insert(node, process);
    }

    /// Stops a process and notifies its peers.
    fn stop(&mut self, node: Node) {
        self.lose_machine(node);
        self.reset_orphaned_streams(node);
    }

    /// Stops a process without notifying its peers.
    fn lose_machine(&mut self, node: Node) {
        if let Some(Process::Replica(mut replica)) = self.processes.remove(&node) {
            replica.end_all_requests(&mut self.cluster);
            self.cluster.checker.record_exit(replica.process(), replica.origin);
        }
        self.cluster.runs.remove(&node);
        self.cluster.freezing.remove(&node);
        self.cluster.actor_queues.remove(&node);
        self.cluster.intakes.remove(&node);
        let streams = self.cluster.network.streams_of(node).into_iter().map(|(stream, _)| stream).collect();
        self.orphaned_streams.insert(node, streams);
    }

    fn reset_orphaned_streams(&mut self, node: Node) {
        for stream in self.orphaned_streams.remove(&node).unwrap_or_default() {
            self.cluster.network.reset(&mut self.cluster.queue, stream);
        }
    }
}
