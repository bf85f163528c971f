//! How faults begin and end.

use crate::counters::Happening;
use crate::plan::{Blow, Node};
use crate::world::{Process, World};

impl World {
    pub(crate) fn begin_fault(&mut self, at: usize) {
        let fault = self.site.plan.faults[at].clone();
        self.disturb();
        self.site.note(|| format!("FAULT: {fault}"));
        match fault.blow {
            Blow::Kill(node) => self.stop(node),
            Blow::Lose(node) => self.vanish(node),
            Blow::Pause(node) => self.pause(node),
            Blow::Drain(at) => {
                if let Some(Process::Aggregator(aggregator)) = self.processes.get_mut(&Node::Aggregator(at)) {
                    aggregator.drain(&mut self.site);
                }
            }
            Blow::Cut(..) | Blow::Split(_) => {
                self.ways(&fault.blow).into_iter().for_each(|way| self.site.network.cut(way));
            }
            Blow::Reset(node) => {
                for (stream, _) in self.site.network.streams_of(node) {
                    self.site.network.break_off(&mut self.site.queue, stream);
                }
            }
            Blow::Slow(a, b, by_ms) => self.site.network.slow((a, b), by_ms),
            Blow::CoordinatorAway => self.site.coordinator.is_away = true,
            Blow::PodOut(at) => {
                self.site.pods.set_member(at, false);
                self.site.respecify();
            }
            Blow::PodReborn(at) => {
                self.site.pods.be_reborn(at);
                self.site.counters.count(Happening::PodReborn);
            }
        }
    }

    pub(crate) fn end_fault(&mut self, at: usize) {
        let fault = self.site.plan.faults[at].clone();
        self.disturb();
        self.site.note(|| format!("OVER: {fault}"));
        match fault.blow {
            Blow::Kill(node) | Blow::Lose(node) => self.start(node),
            Blow::Pause(node) => self.resume(node),
            Blow::Drain(at) => {
                let node = Node::Aggregator(at);
                self.stop(node);
                self.start(node);
            }
            Blow::Cut(..) | Blow::Split(_) => {
                let ways = self.ways(&fault.blow);
                ways.into_iter().for_each(|way| self.site.network.mend(&mut self.site.queue, way));
            }
            Blow::Slow(a, b, _) => self.site.network.slow((a, b), 0),
            Blow::CoordinatorAway => {
                self.site.coordinator.is_back(self.site.queue.now_us());
                self.site.notice_all();
            }
            Blow::PodOut(at) => {
                self.site.pods.set_member(at, true);
                self.site.respecify();
            }
            Blow::Reset(_) | Blow::PodReborn(_) => {}
        }
    }

    /// The ways that a fault cuts.
    fn ways(&self, blow: &Blow) -> Vec<(Node, Node)> {
        match blow {
            Blow::Cut(from, to) => vec![(*from, *to)],
            Blow::Split(apart) => {
                let everybody: Vec<_> =
                    self.site.plan.nodes().into_iter().chain([Node::Coordinator]).collect();
                let crosses = |from: &Node, to: &Node| apart.contains(from) != apart.contains(to);
                let from_each = everybody.iter().flat_map(|from| {
                    everybody.iter().filter(move |to| crosses(from, to)).map(move |to| (*from, *to))
                });
                from_each.collect()
            }
            _ => Vec::new(),
        }
    }
}
