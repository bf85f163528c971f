//! The inputs of a pool's owner.

use std::sync::Arc;

use signalbox_signal::Signal;
use signalbox_types::PoolSpec;

use super::assignments::CollectorStream;
use super::feedback_handling::FeedbackRest;
use crate::reports::{Feedback, Report};

/// What the owner of a pool must handle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PoolInput {
    /// The specification of the pool: its endpoints, objectives and model rewrites.
    Spec(Arc<PoolSpec>),
    /// A collector connected; its stream and name.
    CollectorJoined(CollectorStream, String),
    /// A collector's stream ended.
    CollectorLeft(CollectorStream),
    /// A collector sent a message. One without reports shows that it is alive.
    Reports(CollectorStream, Vec<Report>),
    /// A replica sent feedback.
    Feedback(Feedback),
    /// What is left of a batch of feedback; see [`super::PoolEffect::FeedbackLeft`].
    FeedbackRest(FeedbackRest),
    /// What the coordinator has stored of the autoscaling signal; `None` if that is nothing, or cannot be read. A new owner
    /// assesses nothing before it knows what an earlier one has published.
    StoredSignal(Option<Arc<Signal>>),
    /// Time has passed; sent about every 50 ms.
    Tick,
    /// The time has come that [`super::PoolEffect::GrantAfter`] named.
    GrantDue,
    /// What an earlier input left unfinished goes on.
    Continue,
}
