//! The first message of a stream.

use signalbox_protos::signalbox::v1 as pb;
use signalbox_types::Format;

use crate::error::WireError;

/// Identifies the sender of a stream and the pool that the stream is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The pool, as `NAMESPACE/NAME`; `None` for the only pool of the aggregator.
    pub pool: Option<String>,
    /// The name of the sender.
    pub name: String,
}

impl Hello {
    /// Encodes the hello.
    pub fn message(&self) -> pb::Hello {
        let pool = self.pool.clone().unwrap_or_default();
        pb::Hello { protocol: Format::PROTOCOL, pool, name: self.name.clone() }
    }

    /// Decodes a hello.
    ///
    /// # Errors
    /// [`WireError::Protocol`] when the sender's version is not compatible; [`WireError::Missing`] when there
    /// is no hello.
    pub fn read(message: Option<pb::Hello>) -> Result<Self, WireError> {
        let pb::Hello { protocol, pool, name } = message.ok_or(WireError::Missing("hello"))?;
        check_protocol(protocol)?;
        Ok(Self { pool: Some(pool).filter(|pool| !pool.is_empty()), name })
    }
}

/// Checks that this version is compatible with `protocol`.
pub(crate) fn check_protocol(protocol: u32) -> Result<(), WireError> {
    match protocol.abs_diff(Format::PROTOCOL) {
        0 | 1 => Ok(()),
        _ => Err(WireError::Protocol { theirs: protocol, ours: Format::PROTOCOL }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adjacent_protocols_are_compatible_and_others_are_rejected() {
        let hello = Hello { pool: Some("default/pool".to_owned()), name: "epp-1".to_owned() };
        let of = |protocol| Hello::read(Some(pb::Hello { protocol, ..hello.message() }));
        assert_eq!(Ok(hello.clone()), of(Format::PROTOCOL));
        assert_eq!(Ok(hello.clone()), of(Format::PROTOCOL + 1));
        let rejected = of(Format::PROTOCOL + 2).unwrap_err().to_string();
        assert!(rejected.contains("protocol 7") && rejected.contains("protocol 5"), "{rejected}");
        assert!(of(Format::PROTOCOL - 2).is_err());
        assert_eq!(Err(WireError::Missing("hello")), Hello::read(None));
    }
}
