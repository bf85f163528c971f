//! Starts and ends faults.

use crate::cluster::event::Event;
use crate::counters::Counter;
use crate::plan::{FaultKind, Node};
use crate::processes::Process;
use crate::processes::replica::Replica;
use crate::world::World;

/// How often a draining pod checks whether its requests have ended, in microseconds. The first time, most replicas
/// know that it is draining.
const CHECK_DRAINING_INTERVAL_US: u64 = 500_000;

impl World {
    pub(super) fn start_fault(&mut self, at: usize) {
        let fault = self.cluster.plan.faults[at].clone();
        self.cluster.trace(|| format!("FAULT STARTS: {fault}"));
        match fault.kind {
            FaultKind::Kill(node) => self.stop(node),
            FaultKind::LoseMachine(node) => self.lose_machine(node),
            FaultKind::Pause(node) => self.pause(node),
            FaultKind::Stall(node) => self.cluster.stall(node, fault.for_ms),
            FaultKind::LoseLease(at) => {
                self.cluster.coordinator.revoke(self.cluster.queue.now_us(), Node::Aggregator(at));
                self.cluster.publish_registry();
            }
            FaultKind::Drain(at) => {
                if let Some(Process::Aggregator(aggregator)) = self.processes.get_mut(&Node::Aggregator(at)) {
                    aggregator.drain(&mut self.cluster);
                }
            }
            FaultKind::Cut(..) | FaultKind::Partition(_) => {
                self.cut_links(&fault.kind).into_iter().for_each(|link| self.cluster.network.cut(link));
            }
            FaultKind::ResetStreams(node) => {
                for (stream, _) in self.cluster.network.streams_of(node) {
                    self.cluster.network.reset(&mut self.cluster.queue, stream);
                }
            }
            FaultKind::InventEpoch(node, epoch) => self.cluster.invent_epoch(node, epoch),
            FaultKind::SlowDown(a, b, by_ms) => self.cluster.network.slow_down((a, b), by_ms),
            FaultKind::CoordinatorDown => self.cluster.coordinator.is_down = true,
            FaultKind::RewindCoordinator => {
                self.cluster.coordinator.rewind(self.cluster.queue.now_us());
                self.cluster.publish_registry();
            }
            FaultKind::RemovePod(at) => {
                self.cluster.pods.set_member(at, false);
                self.cluster.announce_endpoints();
            }
            FaultKind::DrainPod(at) => {
                self.cluster.pods.set_draining(at, true);
                self.cluster.announce_endpoints();
                self.check_draining_later(at);
            }
            FaultKind::RestartPod(at) => {
                self.cluster.pods.restart(at);
                self.cluster.counters.increment(Counter::PodRestart);
            }
            FaultKind::FailRequests(at) => self.cluster.pods.set_failing(at, true),
            FaultKind::Impersonate(at, victim) => self.impersonate(at, victim),
            FaultKind::LoseAnchors => self.lose_anchors(),
            FaultKind::Freeze(node) => {
                self.stop(node);
                self.start(node);
                self.cluster.freezing.insert(node);
            }
            FaultKind::Diverge(at) => {
                self.replica_mut(at).into_iter().for_each(|replica| replica.is_diverging = true);
            }
            FaultKind::GiveUp(at) => self.replica_mut(at).into_iter().for_each(Replica::give_up),
            FaultKind::CrashScraper(collector, pod) => self.set_scraper_crashing(collector, pod, true),
            FaultKind::Flood(at) => {
                if let Some(Process::Replica(replica)) = self.processes.get_mut(&Node::Replica(at)) {
                    replica.flood(&mut self.cluster);
                }
            }
            FaultKind::RefuseFollowers(at, refusal) => self.refuse_followers(at, refusal),
        }
    }

    pub(super) fn end_fault(&mut self, at: usize) {
        let fault = self.cluster.plan.faults[at].clone();
        self.cluster.trace(|| format!("FAULT ENDS: {fault}"));
        match fault.kind {
            FaultKind::Kill(node) | FaultKind::LoseMachine(node) => self.start(node),
            FaultKind::Pause(node) => self.resume(node),
            FaultKind::FailRequests(at) => self.cluster.pods.set_failing(at, false),
            FaultKind::LoseAnchors => self.cluster.pods.set_shrunk(false),
            FaultKind::Freeze(node) => {
                self.cluster.freezing.remove(&node);
                self.resume(node);
            }
            FaultKind::Diverge(at) => {
                self.replica_mut(at).into_iter().for_each(|replica| replica.is_diverging = false);
            }
            FaultKind::GiveUp(at) => {
                self.stop(Node::Replica(at));
                self.start(Node::Replica(at));
            }
            FaultKind::CrashScraper(collector, pod) => self.set_scraper_crashing(collector, pod, false),
            FaultKind::RefuseFollowers(at, _) => {
                self.aggregator_mut(at).into_iter().for_each(|aggregator| aggregator.refusal = None);
            }
            FaultKind::Drain(at) => {
                let node = Node::Aggregator(at);
                self.stop(node);
                self.start(node);
            }
            FaultKind::Cut(..) | FaultKind::Partition(_) => {
                let links = self.cut_links(&fault.kind);
                links.into_iter().for_each(|link| self.cluster.network.mend(&mut self.cluster.queue, link));
            }
            FaultKind::SlowDown(a, b, _) => self.cluster.network.slow_down((a, b), 0),
            FaultKind::CoordinatorDown => {
                self.cluster.coordinator.recover(self.cluster.queue.now_us());
                self.cluster.publish_registry();
            }
            FaultKind::RemovePod(at) => {
                self.cluster.pods.set_member(at, true);
                self.cluster.announce_endpoints();
            }
            FaultKind::DrainPod(at) => {
                self.cluster.pods.set_draining(at, false);
                self.cluster.pods.set_member(at, true);
                self.cluster.announce_endpoints();
            }
            FaultKind::Impersonate(..)
            | FaultKind::Flood(_)
            | FaultKind::ResetStreams(_)
            | FaultKind::RewindCoordinator
            | FaultKind::InventEpoch(..)
            | FaultKind::RestartPod(_)
            | FaultKind::Stall(_)
            | FaultKind::LoseLease(_) => {}
        }
    }

    fn check_draining_later(&mut self, at: usize) {
        self.cluster.queue.schedule_after_us(CHECK_DRAINING_INTERVAL_US, Event::CheckDraining(at));
    }

    /// Removes a draining pod from the pool once its requests have ended.
    pub(super) fn check_draining(&mut self, at: usize) {
        let cluster = &mut self.cluster;
        if !cluster.pods.is_draining(at) {
            return;
        }
        if !cluster.pods.is_idle(at) {
            return self.check_draining_later(at);
        }
        cluster.trace(|| format!("pod-{at} has drained"));
        cluster.counters.increment(Counter::PodDrained);
        cluster.pods.set_member(at, false);
        cluster.announce_endpoints();
    }

    /// Returns the links that a fault cuts.
    fn cut_links(&self, kind: &FaultKind) -> Vec<(Node, Node)> {
        match kind {
            FaultKind::Cut(from, to) => vec![(*from, *to)],
            FaultKind::Partition(isolated) => {
                let nodes: Vec<_> =
                    self.cluster.plan.nodes().into_iter().chain([Node::Coordinator]).collect();
                let crosses = |from: &Node, to: &Node| isolated.contains(from) != isolated.contains(to);
                let from_each = nodes.iter().flat_map(|from| {
                    nodes.iter().filter(move |to| crosses(from, to)).map(move |to| (*from, *to))
                });
                from_each.collect()
            }
            _ => Vec::new(),
        }
    }
}
