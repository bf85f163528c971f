//! Describes the faults as data: the rows, the groups of processes they hit, and their steps.

mod group;
mod row;
mod steps;

pub use group::Group;
pub(crate) use group::Topology;
pub use row::{ALL, Fault, Mode, Row, SHORT};
pub(crate) use steps::{Action, DRAINED_SHARE, Step, steps};
