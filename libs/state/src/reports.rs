//! What collectors and replicas report to a pool's owner.

mod decode_window;
mod endpoint_observer;
mod endpoint_report;
mod feedback;
mod feedback_replies;
mod origin_bindings;
mod run_tracker;

pub use self::endpoint_observer::{EndpointObserver, ScrapeResult};
pub use self::endpoint_report::{DecodeObservation, Report, Update};
pub use self::feedback::{
    Feedback, FlowReport, GaugeScope, Placement, ResponseOutcome, ResponseReport, UsageReport,
};
pub use self::feedback_replies::{FeedbackReply, FeedbackReplyQueue};
pub use self::origin_bindings::{OriginBindings, OriginRefused};
