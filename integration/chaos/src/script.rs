//! What is done for a row, step by step.

use std::time::Duration;

use crate::cast::Group;
use crate::rows::{Fault, Row};

/// What a process is done to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blow {
    /// Asked to end, and waited for.
    Terminate,
    /// Killed.
    Kill,
    /// Stands still.
    Stop,
    /// Goes on.
    Continue,
}

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// To all of them at the same time.
    Strike(Blow, Group),
    /// Those that ended.
    Start(Group),
    /// Nothing that one group sends reaches the other.
    Part(Group, Group),
    /// Everything reaches everybody again.
    Heal,
    /// A fifth of the pods is no longer listed.
    Unlist,
    /// All pods are.
    List,
    /// One after the other: asked to end, started again, and all is waited for to be healthy.
    Roll(Group),
    /// Nothing, for so long.
    Hold(Duration),
}

const fn hold(seconds: u64) -> Step {
    Step::Hold(Duration::from_secs(seconds))
}

/// The steps of a row. What it breaks is whole again after the last.
pub(crate) fn script(row: &Row) -> Vec<Step> {
    let target = row.target;
    match row.fault {
        Fault::Terminate => vec![Step::Strike(Blow::Terminate, target), hold(2), Step::Start(target)],
        Fault::Kill => vec![Step::Strike(Blow::Kill, target), hold(5), Step::Start(target)],
        Fault::Pause => {
            vec![Step::Strike(Blow::Stop, target), hold(10), Step::Strike(Blow::Continue, target)]
        }
        Fault::Away => vec![Step::Strike(Blow::Terminate, target), hold(30), Step::Start(target)],
        Fault::Cut => vec![Step::Part(target, Group::Replicas), hold(10), Step::Heal],
        Fault::Split => vec![
            Step::Part(target, Group::Etcd),
            Step::Part(target, Group::Standbys),
            Step::Part(target, Group::OtherReplicas),
            Step::Part(Group::Standbys, Group::FirstReplicas),
            hold(10),
            Step::Heal,
        ],
        Fault::Roll => vec![Step::Roll(target)],
        Fault::Drain => vec![Step::Unlist, hold(10), Step::List],
    }
}

#[cfg(test)]
mod tests {
    use super::{Blow, Step, script};
    use crate::rows::ALL;

    #[test]
    fn whatever_is_broken_is_mended() {
        for row in ALL {
            let steps = script(row);
            let has = |wanted: Step| steps.contains(&wanted);
            for step in &steps {
                let mended = match *step {
                    Step::Strike(Blow::Terminate | Blow::Kill, group) => has(Step::Start(group)),
                    Step::Strike(Blow::Stop, group) => has(Step::Strike(Blow::Continue, group)),
                    Step::Part(..) => has(Step::Heal),
                    Step::Unlist => has(Step::List),
                    _ => true,
                };
                assert!(mended, "{row}: {step:?}");
            }
        }
    }
}
