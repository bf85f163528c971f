//! Keeps the events of processes that are paused or busy for later.

use crate::cluster::event::Event;
use crate::cluster::lane::Lane;
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

    /// Returns where an event waits for its process.
    fn lane(&self, node: Node, event: &Event) -> Lane {
        match (node, event) {
            (Node::Aggregator(_), Event::Message { stream, end, payload }) => {
                let kind = self.cluster.network.stream(*stream).map(|stream| stream.kind);
                kind.map_or(Lane::Mailbox, |kind| payload.lane(kind, *end))
            }
            (Node::Aggregator(_), Event::Timer { timer, .. }) => timer.lane(),
            _ => Lane::Mailbox,
        }
    }

    /// Handles an event now, or when its process is done with what comes before.
    pub(super) fn dispatch(&mut self, event: Event) {
        if let Event::Continue { node, run } = event {
            if self.is_current_run(node, run) {
                self.work_off(node);
            }
            return;
        }
        let Some(node) = self.receiver(&event) else { return self.handle(event) };
        let Some(run) = self.cluster.runs.get(&node) else { return self.handle(event) };
        if run.is_paused || event.is_for_actor() {
            self.enqueue(node, event);
        } else {
            self.handle(event);
        }
    }

    fn enqueue(&mut self, node: Node, event: Event) {
        let (lane, now_us) = (self.lane(node, &event), self.cluster.queue.now_us());
        let queue = self.cluster.actor_queues.entry(node).or_default();
        queue.push(now_us, lane, event);
        match queue.len() {
            1 => self.work_off(node),
            LONG_BACKLOG => self.cluster.counters.increment(Counter::LongBacklog),
            _ => {}
        }
    }

    /// Handles what waits for a process until it is busy again.
    fn work_off(&mut self, node: Node) {
        while let Some(run) = self.cluster.runs.get(&node)
            && !run.is_paused
        {
            if self.cluster.is_busy(node) {
                return self.continue_when_done(node);
            }
            let now_us = self.cluster.queue.now_us();
            let next = self.cluster.actor_queues.get_mut(&node).and_then(|queue| queue.pop(now_us));
            let Some((event, overtakes)) = next else { return };
            if overtakes {
                self.cluster.counters.increment(Counter::ContentOvertaken);
            }
            if event.is_for_actor() {
                self.handle_as_actor(node, event);
            } else {
                self.handle(event);
            }
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
