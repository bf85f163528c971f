//! Flow control at a replica: which requests wait here while the pool is full, and how their wait ends. The order in which
//! they go is the fleet's; see `signalbox_flow`.

mod admission;
mod gate;
mod local_grants;
mod owner_news;
mod queue;
mod retry_after;

pub(crate) use admission::Verdict;
pub(crate) use gate::{Arrival, Gate, OWNER_SILENCE_MS, Place, WaitEnd};
pub(crate) use owner_news::OwnerNews;
