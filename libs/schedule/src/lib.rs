//! Which endpoint shall serve a request, and why.
//!
//! [`decide`] is a function of its arguments alone: the same ground, policy and seed give the same decision, in any process and at any time.

mod decide;
mod decision_inputs;
mod explain;
mod least_time;
mod policy;
mod recording;
mod weighted;

pub use decide::{Candidates, Decision, decide};
pub use decision_inputs::DecisionInputs;
pub use explain::{Candidate, Explanation, explain};
pub use least_time::{LeastTime, Terms, Tier};
pub use policy::Policy;
pub use recording::{DecisionAccount, InvalidRecording, Recording, Replay, SEEDS, Verdict};
pub use weighted::{
    Concurrency, Filter, FilterStep, Limit, Mark, Metric, Must, Picker, PrefixAffinity, ROLE_LABEL,
    Requirement, Role, Saturation, Scorer, ScorerStep, Selector, SessionAffinity, Unlabelled, Weighted,
    WhenNone, session_token,
};
