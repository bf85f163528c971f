//! Ids, units and plain values that every part of Signalbox shares. No logic beyond construction, display and looking things up.

mod address;
mod ended;
mod endpoint;
mod hex;
mod ids;
mod load;
mod models;
mod objective;
mod rates;
mod request;
mod rewrite;
mod sample;
mod subset;
mod version;

pub use address::PeerAddress;
pub use ended::{BookingId, Ended};
pub use endpoint::{EndpointSpec, Engine, PoolId, PoolSpec, UnknownEngine};
pub use ids::{BlockHash, EndpointKey, Generation, Incarnation, Origin, ReplicaKey};
pub use load::Load;
pub use models::Models;
pub use objective::Objective;
pub use rates::Rates;
pub use request::Request;
pub use rewrite::{ModelRewrite, RewriteRule, RewriteTarget};
pub use sample::{Adapters, Capacity, Counters, Gauges, PPM, Sample};
pub use subset::Subset;
pub use version::{Format, Version};
