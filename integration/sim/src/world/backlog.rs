//! Keeps the events of processes that are paused or busy for later, in order.

use crate::cluster::event::Event;
use crate::counters::Counter;
use crate::plan::Node;
use crate::world::World;

/// A backlog of this many events counts as long.
const LONG_BACKLOG: usize = 32;

impl World {
    /// Returns the process that an event is for, if it is for one.
    fn receiver(&self, event: &Event) -> Option<Node> {
        match event {
            Event::Timer { node, .. }
            | Event::CoordinatorReply { node, .. }
            | Event::EndpointsChanged { node, .. } => Some(*node),
            Event::Message { stream, end, .. } => {
                self.cluster.network.stream(*stream).map(|stream| stream.process_at(*end).0)
            }
            _ => None,
        }
    }

    /// Handles an event now, or when its process is done with what came before.
    pub(super) fn dispatch(&mut self, event: Event) {
        if let Event::Continue { node, run } = event {
            if self.is_current_run(node, run) {
                self.work_off(node);
            }
            return;
        }
        let Some(node) = self.receiver(&event) else { return self.handle(event) };
        let Some(run) = self.cluster.runs.get(&node) else { return self.handle(event) };
        let is_for_actor = event.is_for_actor();
        let must_wait = self.cluster.is_busy(node) || self.backlogs.contains_key(&node);
        if run.is_paused || (is_for_actor && must_wait) {
            self.defer(node, event);
        } else if is_for_actor {
            self.handle_as_actor(node, event);
        } else {
            self.handle(event);
        }
    }

    fn defer(&mut self, node: Node, event: Event) {
        let backlog = self.backlogs.entry(node).or_default();
        backlog.push_back(event);
        let (is_first, is_long) = (backlog.len() == 1, backlog.len() == LONG_BACKLOG);
        if is_long {
            self.cluster.counters.increment(Counter::LongBacklog);
        }
        if is_first {
            self.continue_when_done(node);
        }
    }

    /// Handles the backlog of a process until it is busy again.
    fn work_off(&mut self, node: Node) {
        while let Some(run) = self.cluster.runs.get(&node)
            && !run.is_paused
        {
            if self.cluster.is_busy(node) {
                return self.continue_when_done(node);
            }
            let Some(event) = self.backlogs.get_mut(&node).and_then(|backlog| backlog.pop_front()) else {
                break;
            };
            if event.is_for_actor() {
                self.handle_as_actor(node, event);
            } else {
                self.handle(event);
            }
        }
        if self.backlogs.get(&node).is_some_and(|backlog| backlog.is_empty()) {
            self.backlogs.remove(&node);
        }
    }

    fn handle_as_actor(&mut self, node: Node, event: Event) {
        self.cluster.begin_event(node, event.parts());
        self.handle(event);
        self.cluster.finish_event(node);
    }

    pub(super) fn continue_when_done(&mut self, node: Node) {
        let Some(run) = self.cluster.runs.get(&node) else { return };
        let event = Event::Continue { node, run: run.number };
        self.cluster.queue.schedule_at_us(run.busy.until_us, event);
    }

    pub(super) fn pause(&mut self, node: Node) {
        self.cluster.runs.entry(node).and_modify(|run| run.is_paused = true);
    }

    pub(super) fn resume(&mut self, node: Node) {
        self.cluster.runs.entry(node).and_modify(|run| run.is_paused = false);
        self.continue_when_done(node);
    }
}
