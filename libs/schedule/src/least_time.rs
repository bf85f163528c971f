//! The default policy: the endpoint with the least expected time to serve the request. It has no weights.

mod adapter;
mod cost;
mod settings;

pub(crate) use cost::terms;
pub use cost::{Terms, Tier};
pub use settings::LeastTime;
