//! Why an aggregator does not start.

use signalbox_telemetry::ListenError;
use signalbox_tls::ExposedListener;
use thiserror::Error;

/// Why an aggregator could not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// A port could not be bound.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The actors could not start.
    #[error("cannot start the actors: {0}")]
    Actors(String),
    /// Two endpoints files name the same pool.
    #[error("two --endpoints files name the same pool; give each pool its own name")]
    DuplicatePool,
    /// The aggregator would be reachable without TLS.
    #[error(transparent)]
    ExposedListener(#[from] ExposedListener),
    /// A port could not be served.
    #[error("cannot serve a port")]
    Serve(#[from] std::io::Error),
}
