//! What collectors and replicas report to a pool's owner, and how much of it may wait.

mod decode_window;
mod endpoint_observer;
mod endpoint_report;
mod feedback;
mod feedback_replies;
mod message_budget;
mod origin_bindings;
mod run_tracker;

pub use self::endpoint_observer::{EndpointObserver, ScrapeResult};
pub use self::endpoint_report::{DecodeObservation, Report, Update};
pub use self::feedback::{
    Feedback, FlowReport, GaugeScope, Placement, ResponseOutcome, ResponseReport, UsageReport,
};
pub use self::feedback_replies::{FeedbackReply, FeedbackReplyQueue};
pub use self::message_budget::{MessageBudget, MessageKind, MessageLimits, MessageShare};
pub use self::origin_bindings::{OriginBindings, OriginRefused};
