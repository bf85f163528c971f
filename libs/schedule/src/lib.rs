//! Which endpoint shall serve a request, and why.
//!
//! [`decide`] is a function of its arguments alone: the same ground, policy and seed give the same decision, in any process and at any time.

mod decide;
mod explain;
mod ground;
mod least_time;
mod policy;

pub use decide::{Candidates, Decision, decide};
pub use explain::{Candidate, Explanation, explain};
pub use ground::Ground;
pub use least_time::{LeastTime, Terms, Tier};
pub use policy::Policy;
