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
    /// Two lists that belong together differ in length, or a number is out of bounds.
    #[error("{0} is out of bounds")]
    Bounds(&'static str),
}
