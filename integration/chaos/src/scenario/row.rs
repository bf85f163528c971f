//! Lists all rows: each one a fault, its target, and the mode of the gateway.

use std::fmt;

use super::group::Group;

/// A fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// SIGTERM, and a restart two seconds after the exit.
    Terminate,
    /// SIGKILL, and a restart five seconds later.
    Kill,
    /// The machine is lost: SIGKILL, but nothing that the target sent, not even the end of a connection, reaches
    /// any other process. After five seconds its peers learn that its connections ended, and it restarts.
    Lose,
    /// SIGSTOP, and SIGCONT ten seconds later.
    Pause,
    /// SIGTERM, and a restart thirty seconds after the exit.
    Stop,
    /// No connection to the replicas for ten seconds.
    Cut,
    /// For ten seconds, the target reaches only half of the replicas, and these reach only the target: the
    /// other aggregators elect a second owner.
    Partition,
    /// A restart of one process after the other: SIGTERM, a restart, and the next process when everything is
    /// healthy.
    RollingRestart,
    /// A fifth of the pods is removed from the endpoints file for ten seconds.
    Drain,
    /// SIGKILL as soon as the target has endpoints, and a restart as soon as others have them, again and again.
    CrashLoop,
    /// The target fails all requests for seven seconds.
    Fail,
}

/// What the gateway sends the EPP of responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Everything, as gateways do by default.
    Default,
    /// Nothing: the EPP learns the end of a request from the access log.
    RequestOnly,
}

/// One test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The fault.
    pub fault: Fault,
    /// The processes that the fault hits.
    pub target: Group,
    /// What the gateway sends the EPP of responses.
    pub mode: Mode,
    /// The number of model servers.
    pub pods: usize,
}

const fn row(fault: Fault, target: Group, mode: Mode) -> Row {
    Row { fault, target, mode, pods: 8 }
}

/// All rows. Consecutive rows with the same mode and number of pods share their processes.
pub const ALL: &[Row] = &[
    row(Fault::Terminate, Group::Replica, Mode::Default),
    row(Fault::Kill, Group::Replica, Mode::Default),
    row(Fault::Pause, Group::Replica, Mode::Default),
    row(Fault::Terminate, Group::Owner, Mode::Default),
    row(Fault::Kill, Group::Owner, Mode::Default),
    row(Fault::Lose, Group::Owner, Mode::Default),
    row(Fault::Pause, Group::Owner, Mode::Default),
    row(Fault::Terminate, Group::Standby, Mode::Default),
    row(Fault::Kill, Group::Standby, Mode::Default),
    row(Fault::Pause, Group::Standby, Mode::Default),
    row(Fault::Terminate, Group::Collector, Mode::Default),
    row(Fault::Kill, Group::Collector, Mode::Default),
    row(Fault::Pause, Group::Collector, Mode::Default),
    row(Fault::CrashLoop, Group::Collector, Mode::Default),
    row(Fault::Fail, Group::Pod, Mode::Default),
    row(Fault::Stop, Group::Etcd, Mode::Default),
    row(Fault::Cut, Group::Owner, Mode::Default),
    row(Fault::Partition, Group::Owner, Mode::Default),
    row(Fault::Terminate, Group::Aggregators, Mode::Default),
    row(Fault::Kill, Group::Aggregators, Mode::Default),
    row(Fault::RollingRestart, Group::Everything, Mode::Default),
    row(Fault::Terminate, Group::Replica, Mode::RequestOnly),
    row(Fault::Kill, Group::Replica, Mode::RequestOnly),
    row(Fault::Pause, Group::Replica, Mode::RequestOnly),
    row(Fault::RollingRestart, Group::Everything, Mode::RequestOnly),
    // With many more, each pod is so much slower than is assumed before it was measured that the pool is not full in time.
    Row { pods: 20, ..row(Fault::Drain, Group::Pods, Mode::Default) },
];

/// The rows that `cargo xtask test` runs.
pub const SHORT: &[Row] = &[
    row(Fault::Kill, Group::Replica, Mode::Default),
    row(Fault::Kill, Group::Owner, Mode::Default),
    row(Fault::Kill, Group::Replica, Mode::RequestOnly),
];

impl Row {
    /// Returns whether the effect of the fault can be seen only if the pool is not handed back to its preferred aggregator
    /// meanwhile: a new owner does not know which origins the earlier one has dropped.
    pub(crate) fn needs_settled_owner(&self) -> bool {
        self.fault == Fault::Pause && self.target == Group::Replica
    }
}

impl fmt::Display for Row {
    /// Writes the row's name, such as `kill-owner` or `pause-replica-request-only`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fault = match self.fault {
            Fault::Terminate => "terminate",
            Fault::Kill => "kill",
            Fault::Lose => "lose",
            Fault::Pause => "pause",
            Fault::Stop => "stop",
            Fault::Cut => "cut",
            Fault::Partition => "partition",
            Fault::RollingRestart => "rolling-restart",
            Fault::Drain => "drain",
            Fault::CrashLoop => "crash-loop",
            Fault::Fail => "fail",
        };
        // A rolling restart always includes everything.
        let target = match self.target {
            Group::Everything => String::new(),
            target => format!("-{target}"),
        };
        let mode = match self.mode {
            Mode::Default => "",
            Mode::RequestOnly => "-request-only",
        };
        write!(formatter, "{fault}{target}{mode}")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{ALL, SHORT};

    #[test]
    fn names_are_unique_and_short_rows_are_a_subset() {
        let names: BTreeSet<String> = ALL.iter().map(ToString::to_string).collect();
        assert_eq!(names.len(), ALL.len());
        assert!(SHORT.iter().all(|row| ALL.contains(row)));
    }
}
