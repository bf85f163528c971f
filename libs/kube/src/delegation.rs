//! What an aggregated API server leaves to the API server: who its clients are, and what they may do.

mod front_proxy;
mod reviews;

pub use front_proxy::{AuthenticationConfig, watch_authentication_config};
pub use reviews::{ReviewError, Reviews};
