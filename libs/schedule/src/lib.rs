//! Which endpoint shall serve a request, and why.
//!
//! [`decide`] is a function of its arguments alone: the same view, the same local knowledge, the same matches, request, policy
//! and seed give the same decision, in any process and at any time.

mod cost;
mod decide;
mod explain;
mod policy;

pub use cost::{Terms, Tier};
pub use decide::{Candidates, Decision, decide};
pub use explain::{Candidate, Explanation, explain};
pub use policy::Policy;
