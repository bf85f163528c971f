//! One run: a scene under one autoscaler.

use super::deployment::{Deployment, Server};
use super::gate::Gate;
use super::hpa::{Average, Hpa, Unknown};
use super::measures::{Measures, Trace};
use super::owner::{self, Owner};
use super::plan::Plan;
use super::recipes::Recipe;
use super::request::RequestId;
use super::scene::{LEAST, MOST, Scene, model};
use super::scrapes::{Scrapes, Values};

/// For how long requests may still get their first token after the end, in seconds.
const AFTERWARDS_S: f64 = 30.0;

/// What decides how many replicas there are.
#[derive(Clone, Debug)]
pub(super) enum Control {
    /// Signalbox's signal, with so many EPP replicas.
    Signal { replicas: usize },
    /// A recipe, whose thresholds are divided by `factor`.
    Recipe { recipe: Recipe, factor: f64 },
    /// A plan.
    Plan(Plan),
}

/// A scene at one moment.
struct Run<'a> {
    scene: Scene<'a>,
    deployment: Deployment,
    gate: Gate,
    scrapes: Scrapes,
    owner: Option<Owner>,
    /// The next request that arrives.
    next: usize,
    trace: Trace,
}

/// Runs a scene.
pub(super) fn run(scene: Scene<'_>, control: &Control) -> Measures {
    let owner = match control {
        Control::Signal { replicas } => Some(Owner::new(*replicas, scene.seed)),
        _ => None,
    };
    let (behavior, has_flow_control) = match control {
        Control::Recipe { recipe, .. } => (recipe.behavior(), recipe.has_flow_control()),
        _ => (owner::BEHAVIOR, true),
    };
    let mut hpa = Hpa::new(behavior, LEAST, MOST);
    let mut run = Run {
        scene,
        deployment: Deployment::new(model(), scene.startup_s, scene.replicas_at_first(), scene.seed),
        gate: Gate::new(has_flow_control),
        scrapes: Scrapes::default(),
        owner,
        next: 0,
        trace: Trace::new(scene.requests.len()),
    };
    for second in 1..=scene.profile.seconds {
        run.advance(second as f64);
        run.observe(second);
        run.scale(second, control, &mut hpa);
        run.trace.replicas.push(run.deployment.replicas());
    }
    let replica_s = run.deployment.replica_s;
    run.advance(scene.profile.seconds as f64 + AFTERWARDS_S);
    Measures::of(&scene, &run.trace, replica_s)
}

impl Run<'_> {
    /// Lets everything happen until `until_s`.
    fn advance(&mut self, until_s: f64) {
        loop {
            let arrival_s = self.scene.requests.get(self.next).map(|request| request.at_s);
            let ready_s = self.deployment.next_ready_s();
            let servers = self.deployment.serving.iter_mut().chain(&mut self.deployment.draining);
            let of_pods = servers.filter_map(|server| Some((server.pod.next_s()?, server)));
            let pod = of_pods.min_by(|(one_s, _), (other_s, _)| one_s.total_cmp(other_s));
            let pod_s = pod.as_ref().map(|(at_s, _)| *at_s);
            let soonest_s = [arrival_s, ready_s, pod_s].into_iter().flatten().reduce(f64::min);
            let Some(now_s) = soonest_s.filter(|now_s| *now_s <= until_s) else { break };
            match pod {
                Some((at_s, server)) if at_s <= now_s => {
                    step(&self.scene, &mut self.trace, &mut self.scrapes, server, now_s);
                }
                _ if arrival_s == Some(now_s) => {
                    if let Some(owner) = &mut self.owner {
                        owner.arrived(&self.scene.requests[self.next]);
                    }
                    self.gate.push(RequestId(self.next));
                    self.next += 1;
                }
                _ => self.deployment.advance(now_s),
            }
            self.gate.send(now_s, self.scene.requests, &mut self.deployment.serving);
        }
        self.deployment.advance(until_s);
    }

    /// Lets those who watch the pool look at it.
    fn observe(&mut self, second: u64) {
        if Scrapes::is_due(second) {
            let values = self.values();
            self.scrapes.scrape(second as f64, values);
        }
        if let Some(owner) = &mut self.owner {
            owner.assess(second, &self.deployment, &self.gate, self.scene.requests);
        }
    }

    fn values(&self) -> Values {
        let Deployment { serving, draining, .. } = &self.deployment;
        let all = || serving.iter().chain(draining);
        Values {
            queue: self.gate.waiting().len() as f64,
            running: all().map(|server| server.pod.in_flight() as f64).sum(),
            prefill_tokens: all().map(|server| server.pod.prompt_tokens()).sum(),
            kv_use: serving.iter().map(|server| server.pod.kv_use()).sum(),
            replicas: f64::from(self.deployment.replicas()),
            ready: f64::from(self.deployment.ready()),
        }
    }

    /// Sets the number of replicas.
    fn scale(&mut self, second: u64, control: &Control, hpa: &mut Hpa) {
        let is_due = second.is_multiple_of(Hpa::SYNC_S);
        let metrics: Vec<Result<Average, Unknown>> = match control {
            Control::Plan(plan) => return self.deployment.scale(second as f64, plan.at(second)),
            _ if !is_due => return,
            Control::Signal { .. } => self.owner.iter().map(|owner| owner.metric(second)).collect(),
            Control::Recipe { recipe, factor } => {
                let prefill_per_second = f64::from(model().prefill_tokens_per_second);
                let metrics = recipe.metrics(&self.scrapes, *factor, prefill_per_second);
                metrics.into_iter().map(Ok).collect()
            }
        };
        let replicas = hpa.sync(second as f64, self.deployment.replicas(), &metrics);
        self.deployment.scale(second as f64, replicas);
    }
}

/// Advances a pod, and records what it did.
fn step(scene: &Scene<'_>, trace: &mut Trace, scrapes: &mut Scrapes, server: &mut Server, now_s: f64) {
    let effects = server.pod.advance(now_s);
    for id in effects.first {
        let ttft_s = now_s - scene.requests[id.0].at_s;
        trace.ttft_s[id.0] = ttft_s;
        scrapes.first_token(now_s, ttft_s);
    }
    for id in effects.ended {
        let request = &scene.requests[id.0];
        if request.output_tokens > 1 {
            let since_first_s = now_s - request.at_s - trace.ttft_s[id.0];
            scrapes.ended(now_s, since_first_s / f64::from(request.output_tokens - 1));
        }
    }
}
