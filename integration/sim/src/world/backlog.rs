//! Keeps the events of processes that are paused or busy for later.

use signalbox_state::MessageKind;

use crate::cluster::actor_queue::ActorQueue;
use crate::cluster::event::Event;
use crate::cluster::intake::{Admitted, Intake, kind_of};
use crate::cluster::lane::Lane;
use crate::cluster::message::End;
use crate::counters::Counter;
use crate::invariants::Invariant;
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
            // Also if its stream has ended.
            (Node::Aggregator(_), event) if kind_of(event) == Some(MessageKind::Content) => Lane::Bulk,
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
        if let (Node::Aggregator(_), Event::Message { stream, end: End::Server, .. }) = (node, &event) {
            let stream = *stream;
            let admitted = self.intake(node).arrive(stream, event);
            let was_idle = self.waiting(node) == 0;
            self.push_admitted(node, admitted);
            if was_idle && self.waiting(node) > 0 {
                self.work_off(node);
            }
        } else if run.is_paused || event.is_for_actor() {
            self.enqueue(node, event);
        } else {
            self.handle(event);
        }
    }

    fn intake(&mut self, node: Node) -> &mut Intake {
        let limits = self.cluster.plan.message_limits;
        self.cluster.intakes.entry(node).or_insert_with(|| Intake::new(limits))
    }

    fn push_admitted(&mut self, node: Node, admitted: Admitted) {
        if let Some(starved) = admitted.starved {
            self.cluster.checker.fail(Invariant::StreamsTakeTurns, || format!("at {node}: {starved}"));
        }
        if admitted.waits {
            self.cluster.counters.increment(Counter::MessageWaited);
        }
        for event in admitted.events {
            self.push(node, event);
        }
    }

    /// Gives back what a message took of the aggregator's budget, unless a part of it is left to handle.
    fn finish_message(&mut self, node: Node, stream: u64, kind: MessageKind) {
        let has_rest = self.cluster.actor_queues.get(&node).is_some_and(|queue| queue.has_rest_of(stream));
        // A process that has exited meanwhile needs no intake.
        if !has_rest && self.cluster.runs.contains_key(&node) {
            let admitted = self.intake(node).finish(stream, kind);
            self.push_admitted(node, admitted);
        }
    }

    fn enqueue(&mut self, node: Node, event: Event) {
        if self.push(node, event) == 1 {
            self.work_off(node);
        }
    }

    fn waiting(&self, node: Node) -> usize {
        self.cluster.actor_queues.get(&node).map_or(0, ActorQueue::len)
    }

    /// Adds an event to what waits for a process, and returns how much that is.
    fn push(&mut self, node: Node, event: Event) -> usize {
        let (lane, now_us) = (self.lane(node, &event), self.cluster.queue.now_us());
        self.cluster.actor_queues.entry(node).or_default().push(now_us, lane, event);
        let waiting = self.waiting(node);
        if waiting == LONG_BACKLOG {
            self.cluster.counters.increment(Counter::LongBacklog);
        }
        waiting
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
            let (stream, kind) = (event.stream(), kind_of(&event));
            if event.is_for_actor() {
                self.handle_as_actor(node, event);
            } else {
                self.handle(event);
            }
            if let (Node::Aggregator(_), Some(stream), Some(kind)) = (node, stream, kind) {
                self.finish_message(node, stream, kind);
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
