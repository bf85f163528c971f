//! Ids, units and plain values that every part of Signalbox shares. No logic beyond construction and display.

mod address;
mod ended;
mod endpoint;
mod hex;
mod ids;
mod load;
mod rates;
mod request;
mod sample;
mod subset;
mod version;

pub use address::PeerAddress;
pub use ended::{BookingId, Ended};
pub use endpoint::{EndpointSpec, Engine, PoolId, PoolSpec, UnknownEngine};
pub use ids::{BlockHash, EndpointKey, Generation, Incarnation, Origin, ReplicaKey};
pub use load::Load;
pub use rates::Rates;
pub use request::Request;
pub use sample::{Adapters, Capacity, Counters, Gauges, PPM, Sample};
pub use subset::Subset;
pub use version::{Format, Version};
