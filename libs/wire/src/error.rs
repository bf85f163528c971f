use thiserror::Error;

/// A message that a peer of this version would not have sent.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum WireError {
    /// A part that must be there is not, or is of a kind that is not known.
    #[error("{0} is missing or unknown")]
    Missing(&'static str),
    /// An address cannot be read.
    #[error("\"{0}\" is no address of the form IP:PORT")]
    Address(String),
    /// An engine is not known here.
    #[error(transparent)]
    Engine(#[from] signalbox_types::UnknownEngine),
    /// The peer's release is too far from this one.
    #[error(
        "it speaks protocol {theirs}, this one protocol {ours}, and only neighbours understand each other; upgrade one release at a time"
    )]
    Protocol {
        /// What the peer speaks.
        theirs: u32,
        /// What this process speaks.
        ours: u32,
    },
    /// The peer closes the stream, and says why.
    #[error("the peer refuses what it was sent: {0}")]
    Refused(String),
    /// Another pool than the one that was asked for.
    #[error("it speaks of pool {theirs}, and not of {ours}")]
    Pool {
        /// Of which it speaks.
        theirs: String,
        /// Which was asked for.
        ours: String,
    },
    /// Two lists that belong together differ in length, or a number is out of bounds.
    #[error("{0} is out of bounds")]
    Bounds(&'static str),
}
