//! The status of a pod, as its node reports it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::SystemTime;

use serde_json::{Value, json};

use crate::node::pod_spec::{PodSpec, RestartPolicy};

/// The end of one run of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Exit {
    /// The exit code; 128 plus the signal's number after a signal.
    pub(crate) code: i32,
    pub(crate) why: String,
    pub(crate) started: SystemTime,
    pub(crate) ended: SystemTime,
}

/// What a container is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It does not run: a reason in one word, and a message.
    Waiting(&'static str, String),
    /// It runs since then.
    Running(SystemTime),
    /// It has ended and does not start again.
    Exited(Exit),
}

/// The state of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ContainerState {
    pub(crate) phase: Phase,
    /// The process that runs its command.
    pub(crate) process: Option<u32>,
    pub(crate) is_started: bool,
    pub(crate) is_ready: bool,
    pub(crate) restarts: u32,
    pub(crate) last_exit: Option<Exit>,
}

impl Default for ContainerState {
    fn default() -> Self {
        Self {
            phase: Phase::Waiting("ContainerCreating", String::new()),
            process: None,
            is_started: false,
            is_ready: false,
            restarts: 0,
            last_exit: None,
        }
    }
}

/// Reports of one pod. Remembers since when each condition has its value.
#[derive(Debug)]
pub(crate) struct StatusReports {
    started: SystemTime,
    since: BTreeMap<&'static str, (bool, SystemTime)>,
}

impl StatusReports {
    /// Starts reports of a pod that its node accepted at `now`.
    pub(crate) fn new(now: SystemTime) -> Self {
        Self { started: now, since: BTreeMap::new() }
    }

    /// Returns the fields of the status that the node sets. `addresses` are those of the node and the pod.
    pub(crate) fn status(
        &mut self,
        pod: &PodSpec,
        (host, address): (IpAddr, IpAddr),
        states: &[ContainerState],
        now: SystemTime,
    ) -> Value {
        let phase = phase(pod.restart, states);
        let is_ready = states.iter().all(|state| state.is_ready) && phase == "Running";
        let conditions = [
            ("PodScheduled", true),
            ("PodReadyToStartContainers", true),
            ("Initialized", true),
            ("ContainersReady", is_ready),
            ("Ready", is_ready),
        ];
        let conditions = conditions.map(|(kind, holds)| self.condition(kind, holds, now));
        let containers = pod.containers.iter().zip(states);
        let containers = containers.map(|(container, state)| {
            json!({
                "name": container.name,
                "image": container.image,
                "imageID": container.image,
                "ready": state.is_ready,
                "started": state.is_started,
                "restartCount": state.restarts,
                "state": phase_value(&state.phase),
                "lastState": state.last_exit.as_ref().map_or_else(|| json!({}), exit_value),
            })
        });
        json!({
            "phase": phase,
            "hostIP": host,
            "hostIPs": [{ "ip": host }],
            "podIP": address,
            "podIPs": [{ "ip": address }],
            "startTime": time(self.started),
            "conditions": conditions,
            "containerStatuses": containers.collect::<Vec<_>>(),
        })
    }

    fn condition(&mut self, kind: &'static str, holds: bool, now: SystemTime) -> Value {
        let entry = self.since.entry(kind).or_insert((holds, now));
        if entry.0 != holds {
            *entry = (holds, now);
        }
        let status = if holds { "True" } else { "False" };
        json!({ "type": kind, "status": status, "lastTransitionTime": time(entry.1) })
    }
}

/// Returns the phase of a pod.
fn phase(restart: RestartPolicy, states: &[ContainerState]) -> &'static str {
    let exits: Vec<&Exit> = states
        .iter()
        .filter_map(|state| match &state.phase {
            Phase::Exited(exit) => Some(exit),
            _ => None,
        })
        .collect();
    if exits.len() == states.len() && !states.is_empty() {
        let is_failed = exits.iter().any(|exit| exit.code != 0) && restart != RestartPolicy::Always;
        return if is_failed { "Failed" } else { "Succeeded" };
    }
    let has_run = |state: &ContainerState| state.restarts > 0 || !matches!(state.phase, Phase::Waiting(..));
    if states.iter().all(has_run) { "Running" } else { "Pending" }
}

fn phase_value(phase: &Phase) -> Value {
    match phase {
        Phase::Waiting(reason, message) => json!({ "waiting": { "reason": reason, "message": message } }),
        Phase::Running(since) => json!({ "running": { "startedAt": time(*since) } }),
        Phase::Exited(exit) => exit_value(exit),
    }
}

fn exit_value(exit: &Exit) -> Value {
    let reason = if exit.code == 0 { "Completed" } else { "Error" };
    json!({ "terminated": {
        "exitCode": exit.code,
        "reason": reason,
        "message": exit.why,
        "startedAt": time(exit.started),
        "finishedAt": time(exit.ended),
    } })
}

fn time(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use serde_json::{Value, json};

    use super::{ContainerState, Exit, Phase, StatusReports};
    use crate::node::pod_spec::PodSpec;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    fn pod(restart: &str) -> PodSpec {
        let containers = json!([{ "name": "one", "image": "signalbox" }]);
        PodSpec::read(
            &json!({ "metadata": {}, "spec": { "containers": containers, "restartPolicy": restart } }),
        )
        .unwrap()
    }

    fn status(reports: &mut StatusReports, restart: &str, state: &ContainerState, now: SystemTime) -> Value {
        let addresses = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        reports.status(&pod(restart), addresses, std::slice::from_ref(state), now)
    }

    fn condition<'a>(status: &'a Value, kind: &str) -> &'a Value {
        let mut conditions = status["conditions"].as_array().unwrap().iter();
        conditions.find(|condition| condition["type"] == kind).unwrap()
    }

    #[test]
    fn conditions_keep_the_time_of_their_last_change() {
        let mut reports = StatusReports::new(NOW);
        let waiting = status(&mut reports, "Always", &ContainerState::default(), NOW);
        assert_eq!(
            (waiting["phase"].as_str(), condition(&waiting, "Ready")["status"].as_str()),
            (Some("Pending"), Some("False"))
        );
        let ready = ContainerState {
            phase: Phase::Running(NOW),
            is_started: true,
            is_ready: true,
            ..Default::default()
        };
        let later = status(&mut reports, "Always", &ready, NOW + Duration::from_secs(5));
        assert_eq!(
            condition(&later, "Ready"),
            &json!({ "type": "Ready", "status": "True", "lastTransitionTime": "1970-01-01T00:00:05Z" })
        );
        let last = status(&mut reports, "Always", &ready, NOW + Duration::from_secs(9));
        assert_eq!(condition(&last, "Ready"), condition(&later, "Ready"));
        assert_eq!(condition(&last, "PodScheduled")["lastTransitionTime"], "1970-01-01T00:00:00Z");
    }

    #[test]
    fn pod_that_has_ended_failed_if_a_container_did() {
        let exit = |code| Exit { code, why: String::new(), started: NOW, ended: NOW };
        let ended = |code| ContainerState { phase: Phase::Exited(exit(code)), ..Default::default() };
        for (code, phase) in [(0, "Succeeded"), (137, "Failed")] {
            let status = status(&mut StatusReports::new(NOW), "Never", &ended(code), NOW);
            assert_eq!(status["phase"], phase);
            assert_eq!(status["containerStatuses"][0]["state"]["terminated"]["exitCode"], code);
        }
    }

    #[test]
    fn container_that_waits_for_its_restart_leaves_the_pod_running() {
        let waiting = Phase::Waiting("CrashLoopBackOff", "exited".to_owned());
        let state = ContainerState { phase: waiting, restarts: 2, ..Default::default() };
        let status = status(&mut StatusReports::new(NOW), "Always", &state, NOW);
        assert_eq!(
            (status["phase"].as_str(), condition(&status, "Ready")["status"].as_str()),
            (Some("Running"), Some("False"))
        );
    }
}
