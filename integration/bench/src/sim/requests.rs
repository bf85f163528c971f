//! The requests of the simulation: routing, and the responses of the pods.

use std::sync::Arc;

use rand::Rng;
use signalbox_modelsim::engine::{Arrival, Effect, Input as PodInput};

use super::replica::{Picked, Replica, RoutedRequest};
use super::simulation::{Event, FIRST_ARRIVAL_US, Simulation};

/// Transit time of what replicas tell each other without an owner.
const PEER_DELAY_US: u64 = 1_000;

impl Simulation<'_> {
    /// Lets a request arrive at a live replica: its own, or any.
    pub(super) fn arrive(&mut self, now_us: u64, request: usize) {
        let live: Vec<usize> = (0..self.replicas.len()).filter(|at| self.replicas[*at].is_some()).collect();
        let entry = self.sender(request).and_then(|sender| sender.entry);
        let nth = entry.unwrap_or_else(|| self.rng.random_range(0..live.len())) % live.len();
        self.served[request].arrived_us = now_us - FIRST_ARRIVAL_US;
        self.route(now_us, (live[nth], request), false);
        if request + 1 < self.config.requests.len() {
            self.queue.push(self.arrives_us(request + 1).max(now_us), Event::Arrive(request + 1));
        }
    }

    /// Routes a request that is at a replica and sends it to the picked pod, unless it has to wait.
    pub(super) fn route(&mut self, now_us: u64, (replica, request): (usize, usize), has_waited: bool) {
        let prompt = &self.config.requests[request].prompt;
        let sender = self.config.flow.map(|flow| &flow.senders[request]);
        let Some(selected) = self.replicas[replica].as_mut() else { return };
        match selected.pick(now_us, (request, prompt, sender), has_waited, &self.pods) {
            Picked::Routed(routed) => self.send(now_us, (replica, request), *routed),
            Picked::Waits => self.hold(now_us, (replica, request)),
            Picked::Dropped => self.drop_request(),
        }
    }

    /// Sends a request to the pod that was picked for it.
    fn send(&mut self, now_us: u64, (replica, request): (usize, usize), routed: RoutedRequest) {
        let sim_request = &self.config.requests[request];
        let arrival = Arrival {
            id: request as u64,
            chain: Arc::clone(&sim_request.prompt.blocks),
            adapter: None,
            prompt_tokens: sim_request.prompt.tokens,
            max_output_tokens: Some(sim_request.output_tokens),
        };
        let pod = routed.position;
        let served = &mut self.served[request];
        served.pod = pod;
        served.predicted_cached_tokens = routed.predicted_cached_tokens;
        let waited_us = now_us - FIRST_ARRIVAL_US - served.arrived_us;
        self.held.send(now_us, (request, waited_us), pod);
        self.routed[request] = Some((replica, routed));
        self.tell_others(now_us, replica);
        self.step(now_us, pod, PodInput::Arrive(arrival));
    }

    /// Lets a replica tell the owner and the other replicas what has changed.
    pub(super) fn tell_others(&mut self, now_us: u64, replica: usize) {
        self.schedule_flush(now_us, replica);
        let updates = self.replicas[replica].as_mut().map_or_else(Vec::new, Replica::take_updates);
        for update in updates {
            for other in (0..self.replicas.len()).filter(|other| *other != replica) {
                self.queue.push(now_us + PEER_DELAY_US, Event::PeerUpdate(other, update.clone()));
            }
        }
    }

    /// Steps a pod and handles the effects.
    pub(super) fn step(&mut self, now_us: u64, pod: usize, input: PodInput) {
        let mut effects = std::mem::take(&mut self.effects);
        if let Some(wakeup_us) = self.pods[pod].step(now_us, input, &mut effects) {
            self.queue.push(wakeup_us, Event::PodWakeup(pod));
        }
        for effect in effects.drain(..) {
            self.handle_effect(now_us, &effect);
        }
        self.effects = effects;
    }

    fn handle_effect(&mut self, now_us: u64, effect: &Effect) {
        match effect {
            Effect::Token { .. } => {}
            Effect::FirstToken { id, at_us, cached_tokens } => {
                let request = *id as usize;
                let arrived_us = self.arrives_us(request);
                let served = &mut self.served[request];
                (served.ttft_us, served.cached_tokens) = (at_us - arrived_us, *cached_tokens);
                if let Some((replica, routed)) = &mut self.routed[request] {
                    let replica = *replica;
                    self.replicas[replica]
                        .iter_mut()
                        .for_each(|replica| replica.record_first_output(now_us, routed));
                    self.tell_others(now_us, replica);
                }
            }
            Effect::Finished { id, usage, at_us } => {
                self.finished += 1;
                let request = *id as usize;
                self.held.finish(now_us, self.served[request].pod);
                self.served[request].e2e_us = at_us - self.arrives_us(request);
                let computed = usage.prompt_tokens - usage.cached_tokens + usage.output_tokens;
                self.pods[self.served[request].pod].work_tokens += u64::from(computed);
                if let Some((replica, routed)) = self.routed[request].take() {
                    let live = self.replicas[replica].iter_mut();
                    let prompt = &self.config.requests[request].prompt;
                    live.for_each(|replica| replica.record_end(now_us, (&routed, prompt), *usage));
                    drop(routed);
                    self.tell_others(now_us, replica);
                }
            }
            Effect::Rejected { id, reason } => panic!("request {id} was rejected: {reason}"),
        }
    }
}
