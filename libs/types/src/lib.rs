//! Ids, units and plain values that all crates share. They contain no logic beyond construction, display and
//! lookup.

mod endpoint;
mod hex;
mod ids;
mod load;
mod models;
mod objective;
mod peer_address;
mod rates;
mod request;
mod request_end;
mod rewrite;
mod sample;
mod subset;
mod version;

pub use endpoint::{EndpointSpec, Engine, PoolId, PoolSpec, UnknownEngine};
pub use ids::{BlockHash, EndpointKey, Generation, Incarnation, Origin, ReplicaKey};
pub use load::Load;
pub use models::Models;
pub use objective::Objective;
pub use peer_address::PeerAddress;
pub use rates::Rates;
pub use request::Request;
pub use request_end::{BookingId, RequestEnd};
pub use rewrite::{ModelRewrite, RewriteRule, RewriteTarget};
pub use sample::{Adapters, Capacity, Counters, Gauges, PPM, Sample};
pub use subset::Subset;
pub use version::{Format, Version};
