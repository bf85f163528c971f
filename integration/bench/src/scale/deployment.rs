//! A Deployment: its pods, from when they are asked for until they are gone.

use rand::Rng;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use signalbox_modelsim::ModelConfig;

use super::pod::Pod;

/// By how much the start-up of a pod differs from that of others at most, in parts of it.
const STARTUP_SPREAD: f64 = 0.15;

/// A pod that serves.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) key: u64,
    pub(super) since_s: f64,
    pub(super) pod: Pod,
}

/// A Deployment.
#[derive(Debug)]
pub(super) struct Deployment {
    model: &'static ModelConfig,
    startup_s: f64,
    rng: SmallRng,
    next_key: u64,
    /// When the pods that are starting will serve.
    starting: Vec<f64>,
    /// The pods that serve, the oldest first.
    pub(super) serving: Vec<Server>,
    /// Pods that are to go, and finish what they have.
    pub(super) draining: Vec<Server>,
    /// The time until which `replica_s` is counted.
    counted_s: f64,
    /// Seconds for which there were pods, in whatever state.
    pub(super) replica_s: f64,
}

impl Deployment {
    /// Creates a Deployment of `replicas` pods that serve.
    pub(super) fn new(model: &'static ModelConfig, startup_s: f64, replicas: u32, seed: u64) -> Self {
        let mut deployment = Self {
            model,
            startup_s,
            rng: SmallRng::seed_from_u64(seed),
            next_key: 0,
            starting: vec![0.0; replicas as usize],
            serving: Vec::new(),
            draining: Vec::new(),
            counted_s: 0.0,
            replica_s: 0.0,
        };
        deployment.advance(0.0);
        deployment
    }

    /// Returns the replicas as the status of the Deployment has them: those that start, too, but none that is to go.
    pub(super) fn replicas(&self) -> u32 {
        (self.starting.len() + self.serving.len()) as u32
    }

    /// Returns how many serve.
    pub(super) fn ready(&self) -> u32 {
        self.serving.len() as u32
    }

    /// Returns when the next pod begins to serve.
    pub(super) fn next_ready_s(&self) -> Option<f64> {
        self.starting.iter().copied().reduce(f64::min)
    }

    /// Lets the pods serve that have started by `now_s`, and those go that have finished.
    pub(super) fn advance(&mut self, now_s: f64) {
        let pods = self.starting.len() + self.serving.len() + self.draining.len();
        self.replica_s += pods as f64 * (now_s - self.counted_s);
        self.counted_s = now_s;
        self.draining.retain(|server| server.pod.in_flight() > 0);
        let before = self.starting.len();
        self.starting.retain(|ready_s| *ready_s > now_s);
        for _ in self.starting.len()..before {
            let pod = Pod::new(self.model, now_s);
            self.serving.push(Server { key: self.next_key, since_s: now_s, pod });
            self.next_key += 1;
        }
    }

    /// Sets the number of replicas. Pods that are starting go first, then the youngest, as with a ReplicaSet.
    pub(super) fn scale(&mut self, now_s: f64, replicas: u32) {
        self.advance(now_s);
        while self.replicas() < replicas {
            let spread = 1.0 + STARTUP_SPREAD * (2.0 * self.rng.random::<f64>() - 1.0);
            self.starting.push(now_s + self.startup_s * spread);
        }
        while self.replicas() > replicas {
            if self.starting.pop().is_none() {
                self.draining.extend(self.serving.pop());
            }
        }
        self.draining.retain(|server| server.pod.in_flight() > 0);
    }
}

#[cfg(test)]
mod tests {
    use signalbox_modelsim::profiles;

    use super::*;
    use crate::scale::request::Request;
    use crate::scale::request::RequestId;

    fn deployment() -> Deployment {
        let model = &profiles::find("l40s-8b").expect("the profile is among those of modelsim").model;
        Deployment::new(model, 100.0, 2, 1)
    }

    #[test]
    fn pods_serve_after_their_start_and_count_from_the_request() {
        let mut deployment = deployment();
        deployment.scale(0.0, 4);
        assert_eq!((4, 2), (deployment.replicas(), deployment.ready()));
        let next_s = deployment.next_ready_s().expect("two are starting");
        assert!((85.0..=115.0).contains(&next_s));
        deployment.advance(115.0);
        assert_eq!((4, 4, None), (deployment.replicas(), deployment.ready(), deployment.next_ready_s()));
        assert!((deployment.replica_s - 460.0).abs() < 1e-6, "{}", deployment.replica_s);
    }

    #[test]
    fn starting_pods_go_first_and_busy_ones_finish() {
        let mut deployment = deployment();
        let request = Request { at_s: 0.0, prompt_tokens: 100, output_tokens: 10 };
        deployment.serving.iter_mut().for_each(|of| of.pod.push(0.0, RequestId(0), &request));
        deployment.scale(0.0, 3);
        deployment.scale(1.0, 2);
        assert_eq!((2, 0), (deployment.ready(), deployment.draining.len()));
        deployment.scale(1.0, 1);
        assert_eq!((1, 1), (deployment.replicas(), deployment.draining.len()));
        while let Some(next_s) = deployment.draining[0].pod.next_s() {
            deployment.draining[0].pod.advance(next_s);
        }
        deployment.advance(60.0);
        assert!(deployment.draining.is_empty());
    }
}
