//! What a run results in.

use signalbox_types::Load;

use super::RunResult;
use super::simulation::Simulation;

impl Simulation<'_> {
    /// Returns the result of the run, which ends now.
    pub(super) fn into_result(mut self, now_us: u64) -> RunResult {
        self.held.measure_idle(now_us);
        let arrivals = (0..self.served.len()).map(|request| self.arrives_us(request));
        let (first_us, last_us) =
            (arrivals.clone().next().unwrap_or(0), arrivals.clone().next_back().unwrap_or(0));
        let remaining_load =
            self.replicas.iter().flatten().fold(Load::ZERO, |sum, replica| sum + replica.load());
        let remaining_load = self.owners.iter().fold(remaining_load, |sum, owner| sum + owner.load());
        RunResult {
            work_tokens: self.pods.iter().map(|pod| pod.work_tokens).collect(),
            window_us: last_us - first_us,
            remaining_load,
            finished: self.finished,
            flow: self.held.outcome,
            served: self.served,
        }
    }
}
