//! Runs one container: starts its command, probes it, restarts it, and ends it.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::node::launcher::Launcher;
use crate::node::pod_spec::{ContainerSpec, RestartPolicy};
use crate::node::pod_status::{ContainerState, Exit, Phase};
use crate::node::probes::{Finding, Probed};

/// The time before the second restart; it doubles with each one. The first restart is immediate. The kubelet begins with
/// ten seconds.
const FIRST_BACK_OFF: Duration = Duration::from_secs(1);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(10);

/// A container that runs for this long is started at once when it ends.
const STABLE_AFTER: Duration = Duration::from_secs(60);

/// A container of a running pod.
#[derive(Debug)]
pub(crate) struct Container {
    pub(crate) spec: ContainerSpec,
    /// Its place in `states`.
    pub(crate) index: usize,
    pub(crate) launcher: Launcher,
    pub(crate) address: std::net::IpAddr,
    pub(crate) restart: RestartPolicy,
    /// The time that it has to end before it is restarted.
    pub(crate) grace: Duration,
    pub(crate) states: watch::Sender<Vec<ContainerState>>,
    /// When the container must have ended; `None` while it shall run.
    pub(crate) deadline: watch::Receiver<Option<Instant>>,
}

impl Container {
    /// Runs the container until it has ended for good.
    pub(crate) async fn run(mut self) {
        let mut quick_ends = 0;
        loop {
            let started = Instant::now();
            let exit = match self.launcher.start() {
                Ok(child) => self.run_once(child).await,
                Err(error) => exit_of(125, format!("{error:#}"), SystemTime::now()),
            };
            let is_over = self.deadline.borrow().is_some()
                || self.restart == RestartPolicy::Never
                || (self.restart == RestartPolicy::OnFailure && exit.code == 0);
            if is_over {
                self.set(|state| state.phase = Phase::Exited(exit));
                return;
            }
            quick_ends = if started.elapsed() > STABLE_AFTER { 0 } else { quick_ends + 1 };
            let why = format!("exit code {}; {}", exit.code, exit.why);
            self.set(|state| {
                state.phase = Phase::Waiting("CrashLoopBackOff", why);
                state.last_exit = Some(exit.clone());
                state.restarts += 1;
            });
            tokio::select! {
                () = tokio::time::sleep(back_off(quick_ends)) => {}
                () = told_to_end(&mut self.deadline) => {
                    self.set(|state| state.phase = Phase::Exited(exit));
                    return;
                }
            }
        }
    }

    /// Waits for the end of one run, which probes and the end of the pod can cause.
    async fn run_once(&self, mut child: Child) -> Exit {
        let (started, process, mut deadline) = (SystemTime::now(), child.id(), self.deadline.clone());
        self.set(|state| (state.phase, state.process) = (Phase::Running(started), process));
        let probed = self.probed();
        let (states, index) = (&self.states, self.index);
        let report = |finding| {
            states.send_modify(|states| match finding {
                Finding::Started => states[index].is_started = true,
                Finding::Ready => states[index].is_ready = true,
                Finding::NotReady => states[index].is_ready = false,
            });
        };
        let (status, why) = tokio::select! {
            status = child.wait() => (status.ok(), String::new()),
            () = told_to_end(&mut deadline) => (self.end(&mut child).await, String::new()),
            why = probed.until_unhealthy(report) => {
                let status = terminate(&mut child, Instant::now() + self.grace).await;
                (status, why)
            }
        };
        self.set(|state| (state.is_started, state.is_ready, state.process) = (false, false, None));
        exit_of(status.map_or(137, exit_code), why, started)
    }

    /// Ends the container for good: what it runs before, SIGTERM, and SIGKILL at the deadline.
    async fn end(&self, child: &mut Child) -> Option<ExitStatus> {
        let hook = self.spec.before_stop.clone().unwrap_or_default();
        let (probed, mut deadline) = (self.probed(), self.deadline.clone());
        // The deadline can still move, when the pod is deleted again with less time.
        let is_over = async {
            loop {
                let at = deadline.borrow_and_update().unwrap_or_else(Instant::now);
                tokio::select! {
                    () = tokio::time::sleep_until(at) => return,
                    Ok(()) = deadline.changed() => {}
                }
            }
        };
        let end = async {
            tokio::select! {
                () = before_stop(&probed, &hook) => {}
                status = child.wait() => return status.ok(),
            }
            terminate(child, Instant::now() + Duration::from_secs(3600)).await
        };
        tokio::select! {
            status = end => return status,
            () = is_over => {}
        }
        // A container that has ended meanwhile cannot be killed.
        let _ = child.kill().await;
        child.wait().await.ok()
    }

    fn probed(&self) -> Probed<'_> {
        Probed { container: &self.spec, launcher: &self.launcher, address: self.address }
    }

    fn set(&self, change: impl FnOnce(&mut ContainerState)) {
        self.states.send_modify(|states| change(&mut states[self.index]));
    }
}

/// Waits until the container has a deadline.
async fn told_to_end(deadline: &mut watch::Receiver<Option<Instant>>) {
    // Without a sender, the pod is gone: that is an end too.
    let _ = deadline.wait_for(Option::is_some).await;
}

async fn before_stop(probed: &Probed<'_>, hook: &Value) {
    if let Some(seconds) = hook["sleep"]["seconds"].as_u64() {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }
    let words = hook["exec"]["command"].as_array().into_iter().flatten();
    let words: Vec<String> = words.filter_map(|word| Some(word.as_str()?.to_owned())).collect();
    // As for the kubelet, a hook that fails changes nothing.
    if !words.is_empty()
        && let Ok(mut child) = probed.launcher.run(&words)
    {
        let _ = child.wait().await;
    }
    if !hook["httpGet"].is_null() {
        let _ = probed.check_http(&hook["httpGet"]).await;
    }
}

/// Sends SIGTERM, and SIGKILL at the deadline.
async fn terminate(child: &mut Child, deadline: Instant) -> Option<ExitStatus> {
    if let Some(process) = child.id() {
        // It fails for a process that has just ended, which is as good.
        let _ = Command::new("kill").args(["-TERM", &process.to_string()]).status().await;
    }
    if let Ok(status) = tokio::time::timeout_at(deadline, child.wait()).await {
        return status.ok();
    }
    let _ = child.kill().await;
    child.wait().await.ok()
}

fn back_off(quick_ends: u32) -> Duration {
    match quick_ends {
        0 | 1 => Duration::ZERO,
        more => LONGEST_BACK_OFF.min(FIRST_BACK_OFF * 2_u32.saturating_pow(more - 2)),
    }
}

fn exit_code(status: ExitStatus) -> i32 {
    status.code().or_else(|| Some(128 + status.signal()?)).unwrap_or(255)
}

fn exit_of(code: i32, why: String, started: SystemTime) -> Exit {
    Exit { code, why, started, ended: SystemTime::now() }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::back_off;

    #[test]
    fn restarts_become_slower_up_to_a_limit() {
        let times = [1, 2, 3, 4, 9].map(back_off);
        assert_eq!(times, [0, 1, 2, 4, 10].map(Duration::from_secs));
    }
}
