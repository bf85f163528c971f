//! Requests that wait in replicas.

use super::flow::{Control, Sender};
use super::replica::Ends;
use super::simulation::{Event, Simulation};

impl<'a> Simulation<'a> {
    /// Returns who sends a request, in a run with flow control.
    pub(super) fn sender(&self, request: usize) -> Option<&'a Sender> {
        self.config.flow.map(|flow| &flow.senders[request])
    }

    /// Returns what holds requests back.
    pub(super) fn control(&self) -> &'a Control {
        self.config.flow.map_or(&Control::None, |flow| flow.control)
    }

    fn priority(&self, request: usize) -> i32 {
        self.sender(request).map_or(0, |sender| sender.priority)
    }

    /// Lets a request wait at a replica.
    pub(super) fn hold(&mut self, now_us: u64, (replica, request): (usize, usize)) {
        self.held.begin(now_us, self.priority(request));
        self.tell_others(now_us, replica);
        // The Go EPP runs a cycle when a request arrives.
        let delay_us = if matches!(self.control(), Control::Go) { Some(0) } else { None };
        self.schedule_gate_tick(now_us, replica, delay_us);
    }

    /// Records that a request is not served.
    pub(super) fn drop_request(&mut self) {
        self.held.drop();
        self.finished += 1;
    }

    /// Looks after the requests that wait at a replica.
    pub(super) fn tick_gate(&mut self, now_us: u64, replica: usize) {
        self.gate_ticks[replica] = None;
        let Some(Ends { granted, dropped }) =
            self.replicas[replica].as_mut().map(|replica| replica.tick_gate(now_us))
        else {
            return;
        };
        for request in dropped {
            self.held.end(now_us, self.priority(request));
            self.drop_request();
        }
        self.release(now_us, replica, granted);
        self.schedule_gate_tick(now_us, replica, None);
    }

    /// Routes requests that waited at a replica and may go now.
    pub(super) fn release(&mut self, now_us: u64, replica: usize, granted: Vec<usize>) {
        for request in granted {
            self.held.end(now_us, self.priority(request));
            self.route(now_us, (replica, request), true);
            if let Some(replica) = &mut self.replicas[replica] {
                replica.leave_gate(request);
            }
            self.tell_others(now_us, replica);
        }
    }

    /// Schedules the next tick of a replica's gate, after `delay_us` or when it is due, if requests wait there.
    fn schedule_gate_tick(&mut self, now_us: u64, replica: usize, delay_us: Option<u64>) {
        let Some(due_us) = self.replicas[replica].as_ref().and_then(|replica| replica.gate_tick_us()) else {
            return;
        };
        let at_us = now_us + delay_us.unwrap_or(due_us);
        if self.gate_ticks[replica].is_none_or(|scheduled_us| at_us < scheduled_us) {
            self.gate_ticks[replica] = Some(at_us);
            self.queue.push(at_us, Event::GateTick(replica, at_us));
        }
    }

    /// Handles the event of a tick, unless an earlier one took its place.
    pub(super) fn gate_tick_due(&mut self, now_us: u64, replica: usize, at_us: u64) {
        if self.gate_ticks[replica] == Some(at_us) {
            self.tick_gate(now_us, replica);
        }
    }
}
