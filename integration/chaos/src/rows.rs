//! The faults, as data.

use std::fmt;

use crate::cast::Group;

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// SIGTERM; started again two seconds after it is gone.
    Terminate,
    /// SIGKILL; started again five seconds later.
    Kill,
    /// SIGSTOP, and SIGCONT ten seconds later.
    Pause,
    /// Away for thirty seconds.
    Away,
    /// Cut off from the replicas for ten seconds.
    Cut,
    /// Cut off for ten seconds from all but half of the replicas, which in turn hear nobody else: the others elect a second owner.
    Split,
    /// One process after the other: SIGTERM, started again, and on with the next when all is healthy.
    Roll,
    /// A fifth of the pods leaves the endpoints file for ten seconds.
    Drain,
}

/// What the gateway shows of responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Everything, as gateways configure it.
    Default,
    /// Nothing but headers: the end of a request is learnt from the access log.
    RequestOnly,
}

/// One line of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// What is done.
    pub fault: Fault,
    /// To whom.
    pub target: Group,
    /// What the gateway shows of responses meanwhile.
    pub mode: Mode,
    /// Model servers.
    pub pods: usize,
}

const fn row(fault: Fault, target: Group, mode: Mode) -> Row {
    Row { fault, target, mode, pods: 8 }
}

/// All rows. Neighbours of one mode and as many pods share their processes.
pub const ALL: &[Row] = &[
    row(Fault::Terminate, Group::Replica, Mode::Default),
    row(Fault::Kill, Group::Replica, Mode::Default),
    row(Fault::Pause, Group::Replica, Mode::Default),
    row(Fault::Terminate, Group::Owner, Mode::Default),
    row(Fault::Kill, Group::Owner, Mode::Default),
    row(Fault::Pause, Group::Owner, Mode::Default),
    row(Fault::Terminate, Group::Standby, Mode::Default),
    row(Fault::Kill, Group::Standby, Mode::Default),
    row(Fault::Pause, Group::Standby, Mode::Default),
    row(Fault::Terminate, Group::Collector, Mode::Default),
    row(Fault::Kill, Group::Collector, Mode::Default),
    row(Fault::Pause, Group::Collector, Mode::Default),
    row(Fault::Away, Group::Etcd, Mode::Default),
    row(Fault::Cut, Group::Owner, Mode::Default),
    row(Fault::Split, Group::Owner, Mode::Default),
    row(Fault::Terminate, Group::Aggregators, Mode::Default),
    row(Fault::Kill, Group::Aggregators, Mode::Default),
    row(Fault::Roll, Group::Everything, Mode::Default),
    row(Fault::Terminate, Group::Replica, Mode::RequestOnly),
    row(Fault::Kill, Group::Replica, Mode::RequestOnly),
    row(Fault::Pause, Group::Replica, Mode::RequestOnly),
    row(Fault::Roll, Group::Everything, Mode::RequestOnly),
    Row { pods: 100, ..row(Fault::Drain, Group::Pods, Mode::Default) },
];

/// The few that `cargo xtask test` runs.
pub const SHORT: &[Row] = &[
    row(Fault::Kill, Group::Replica, Mode::Default),
    row(Fault::Kill, Group::Owner, Mode::Default),
    row(Fault::Kill, Group::Replica, Mode::RequestOnly),
];

impl fmt::Display for Row {
    /// Its name: `kill-owner`, `pause-replica-request-only`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fault = match self.fault {
            Fault::Terminate => "terminate",
            Fault::Kill => "kill",
            Fault::Pause => "pause",
            Fault::Away => "away",
            Fault::Cut => "cut",
            Fault::Split => "split",
            Fault::Roll => "roll",
            Fault::Drain => "drain",
        };
        let mode = match self.mode {
            Mode::Default => "",
            Mode::RequestOnly => "-request-only",
        };
        write!(formatter, "{fault}-{}{mode}", self.target)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{ALL, SHORT};

    #[test]
    fn the_document_has_a_result_of_every_row() {
        let document = include_str!("../../../docs/CHAOS.md");
        assert!(ALL.iter().all(|row| document.contains(&format!("| {row} |"))));
    }

    #[test]
    fn names_are_unique_and_the_short_rows_are_of_the_long_ones() {
        let names: BTreeSet<String> = ALL.iter().map(ToString::to_string).collect();
        assert_eq!(names.len(), ALL.len());
        assert!(SHORT.iter().all(|row| ALL.contains(row)));
    }
}
