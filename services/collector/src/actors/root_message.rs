//! Messages to the root actor.

use crate::assignment::Assignment;

#[derive(Debug)]
pub(crate) enum RootMessage {
    /// The aggregator sent an assignment.
    Assign(Assignment),
    /// A child must be started again.
    Restart(Child),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Child {
    EndpointSupervisor,
    Uplink,
}
