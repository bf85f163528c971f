//! Chooses the endpoint for a request, explains the choice, and books the request there.
//!
//! [`decide`] is a pure function: the same inputs, policy and seed give the same decision, in any process and
//! at any time. [`Pick`] gathers the inputs, decides and books.

mod decide;
mod decision;
mod decision_inputs;
mod endpoint_health;
mod explain;
mod explained_request;
mod least_time;
mod pick;
mod policy;
mod ranking;
mod recording;
mod weighted;

pub use decide::decide;
pub use decision::{Decision, ScoredEndpoint};
pub use decision_inputs::DecisionInputs;
pub use explain::{Candidate, Explanation, explain};
pub use explained_request::{ExpectedAdmission, ExplainedRequest};
pub use least_time::{CostTerms, EndpointCosts, LeastTime, Tier};
pub use pick::{BatchedFeedback, Booked, FeedbackSink, OwnState, Pick, PickInputs, place};
pub use policy::Policy;
pub use ranking::decide_and_rank;
pub use recording::{ExplainedDecision, InvalidRecording, Recording, Replay, SEEDS, Verdict, Waited};
pub use weighted::{
    Concurrency, Fallback, Filter, FilterStep, LabelOperator, LabelRequirement, LabelSelector, Limit, Metric,
    Picker, PrefixAffinity, ROLE_LABEL, Role, Saturation, ScoreTrace, Scorer, ScorerStep, SessionAffinity,
    Unlabeled, Weighted, session_token,
};
