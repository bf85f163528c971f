//! The errors of decoding.

use thiserror::Error;

/// A message that a peer of this version would not send.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum WireError {
    /// A required part is absent or of an unknown kind.
    #[error("{0} is missing or unknown")]
    Missing(&'static str),
    /// An address cannot be parsed.
    #[error("\"{0}\" is not an address of the form IP:PORT")]
    Address(String),
    /// The address of a process cannot be parsed.
    #[error("\"{0}\" is not an address of the form HOST:PORT")]
    PeerAddress(String),
    /// The name of a pool cannot be parsed.
    #[error("\"{0}\" is not a pool of the form NAMESPACE/NAME")]
    PoolName(String),
    /// The name of a metric cannot be parsed.
    #[error("\"{0}\" is not a metric of the form name{{label=\"value\"}}")]
    Metric(String),
    /// This version does not know the engine.
    #[error(transparent)]
    Engine(#[from] signalbox_types::UnknownEngine),
    /// The peer's version is not compatible with this one.
    #[error(
        "the peer speaks protocol {theirs} and this process protocol {ours}; only adjacent \
         versions are compatible, so upgrade one release at a time"
    )]
    Protocol {
        /// The protocol version of the peer.
        theirs: u32,
        /// The protocol version of this process.
        ours: u32,
    },
    /// The peer closes the stream because it rejects a message.
    #[error("the peer rejected a message: {0}")]
    Rejected(String),
    /// The peer serves another pool than the requested one.
    #[error("the peer serves pool {theirs} instead of {ours}")]
    Pool {
        /// The pool of the peer.
        theirs: String,
        /// The requested pool.
        ours: String,
    },
    /// Lists that must have the same length differ, or a number is out of range.
    #[error("{0} is out of bounds")]
    Bounds(&'static str),
}
