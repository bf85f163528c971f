//! Ids, units and plain values that all crates share. They contain no logic beyond construction, display and
//! lookup.

mod adapters;
mod custom_engine;
mod endpoint;
mod engine;
mod epoch;
mod hex;
mod ids;
mod load;
mod media_weights;
mod models;
mod objective;
mod page_settings;
mod peer_address;
mod prompt_size;
mod rates;
mod request;
mod request_end;
mod rewrite;
mod sample;
mod served_models;
mod subset;
mod token_ratio;
mod version;

pub use adapters::{Adapters, LoadedAdapters, is_valid_list};
pub use custom_engine::{CustomEngine, MetricSpec};
pub use endpoint::{EndpointSpec, MetricsTls, PoolId, PoolSpec};
pub use engine::{Engine, UnknownEngine};
pub use epoch::{KnownEpoch, max_believable_epoch};
pub use ids::{BlockHash, EndpointKey, Generation, Incarnation, ModelKey, Origin, ReplicaKey, ResponseKey};
pub use load::Load;
pub use media_weights::MediaWeights;
pub use models::Models;
pub use objective::Objective;
pub use page_settings::{PageSettings, url_host};
pub use peer_address::PeerAddress;
pub use prompt_size::{BYTES_PER_TOKEN, MediaKind, MediaTokens, PromptSize};
pub use rates::Rates;
pub use request::Request;
pub use request_end::{BookingId, RequestEnd};
pub use rewrite::{ModelRewrite, RewriteRule, RewriteTarget};
pub use sample::{Capacity, Counters, Gauges, PPM, Sample, Work};
pub use served_models::ServedModels;
pub use subset::Subset;
pub use token_ratio::TokenRatio;
pub use version::{Format, Version};
