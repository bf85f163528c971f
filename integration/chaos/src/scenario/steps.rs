//! Translates a row into the steps that cause its fault and end it.

use std::time::Duration;

use super::group::Group;
use super::row::{Fault, Row};

/// One of this many pods is removed by [`Step::RemovePods`].
pub(crate) const DRAINED_SHARE: usize = 5;

/// How often a process is killed in a loop.
const CRASHES: usize = 5;

/// An action on a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// SIGTERM, and wait for the exit.
    Terminate,
    /// SIGKILL.
    Kill,
    /// SIGSTOP.
    Pause,
    /// SIGCONT.
    Resume,
}

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Applies an action to all processes of a group at the same time.
    Apply(Action, Group),
    /// Starts the processes of a group again.
    Start(Group),
    /// Cuts all connections between two groups.
    Cut(Group, Group),
    /// Ends all cuts.
    Heal,
    /// Removes a fifth of the pods from the endpoints file.
    RemovePods,
    /// Lists all pods in the endpoints file again.
    RestorePods,
    /// Restarts one process after the other, and waits after each one until everything is healthy.
    RollingRestart(Group),
    /// Lets the first pod fail all requests.
    FailPod,
    /// Ends the faults of the first pod.
    MendPod,
    /// Waits.
    Wait(Duration),
    /// Waits until each collector of a group scrapes endpoints, and the others do not scrape all.
    WaitForShare(Group),
    /// Waits until the collectors outside of a group scrape all endpoints.
    WaitForMove(Group),
    /// Waits until the first pod has served more requests than a probe.
    WaitForService,
}

const fn wait(seconds: u64) -> Step {
    Step::Wait(Duration::from_secs(seconds))
}

/// Returns the steps of a row. The last one ends the fault.
pub(crate) fn steps(row: &Row) -> Vec<Step> {
    let target = row.target;
    match row.fault {
        Fault::Terminate => vec![Step::Apply(Action::Terminate, target), wait(2), Step::Start(target)],
        Fault::Kill => vec![Step::Apply(Action::Kill, target), wait(5), Step::Start(target)],
        Fault::Lose => {
            let peers = [Group::Etcd, Group::Standbys, Group::Replicas, Group::Collectors];
            let cuts = peers.into_iter().map(|peers| Step::Cut(target, peers));
            let rest = [Step::Apply(Action::Kill, target), wait(5), Step::Heal, Step::Start(target)];
            cuts.chain(rest).collect()
        }
        Fault::Pause => {
            vec![Step::Apply(Action::Pause, target), wait(10), Step::Apply(Action::Resume, target)]
        }
        Fault::Stop => vec![Step::Apply(Action::Terminate, target), wait(30), Step::Start(target)],
        Fault::Cut => vec![Step::Cut(target, Group::Replicas), wait(10), Step::Heal],
        Fault::Partition => vec![
            Step::Cut(target, Group::Etcd),
            Step::Cut(target, Group::Standbys),
            Step::Cut(target, Group::OtherReplicas),
            Step::Cut(Group::Standbys, Group::FirstReplicas),
            wait(10),
            Step::Heal,
        ],
        Fault::RollingRestart => vec![Step::RollingRestart(target)],
        Fault::Drain => vec![Step::RemovePods, wait(10), Step::RestorePods],
        Fault::CrashLoop => {
            let crash = [
                Step::WaitForShare(target),
                Step::Apply(Action::Kill, target),
                Step::WaitForMove(target),
                Step::Start(target),
            ];
            std::iter::repeat_n(crash, CRASHES).flatten().collect()
        }
        Fault::Fail => vec![Step::FailPod, wait(7), Step::MendPod, Step::WaitForService],
    }
}

#[cfg(test)]
mod tests {
    use super::{Action, CRASHES, Step, steps};
    use crate::scenario::{ALL, Fault};

    #[test]
    fn steps_end_every_fault_that_they_cause() {
        for row in ALL {
            let steps = steps(row);
            let has = |wanted: Step| steps.contains(&wanted);
            for step in &steps {
                let is_ended = match *step {
                    Step::Apply(Action::Terminate | Action::Kill, group) => has(Step::Start(group)),
                    Step::Apply(Action::Pause, group) => has(Step::Apply(Action::Resume, group)),
                    Step::Cut(..) => has(Step::Heal),
                    Step::RemovePods => has(Step::RestorePods),
                    Step::FailPod => has(Step::MendPod),
                    _ => true,
                };
                assert!(is_ended, "{row}: {step:?}");
            }
        }
    }

    #[test]
    fn each_kill_in_a_loop_is_seen_to_move_endpoints() {
        let row = ALL.iter().find(|row| row.fault == Fault::CrashLoop).unwrap();
        let (steps, target) = (steps(row), row.target);
        let kill = Step::Apply(Action::Kill, target);
        let crash = [Step::WaitForShare(target), kill, Step::WaitForMove(target)];
        assert_eq!(steps.windows(3).filter(|window| *window == crash).count(), CRASHES);
        assert_eq!(steps.iter().filter(|step| **step == kill).count(), CRASHES);
    }
}
