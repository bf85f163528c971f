//! How a stream begins.

use signalbox_protos::signalbox::v1 as pb;
use signalbox_types::Format;

use crate::error::WireError;

/// Who opens a stream, and for which pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The pool, as `NAMESPACE/NAME`; `None`: the only one that the aggregator has.
    pub pool: Option<String>,
    /// The sender's name.
    pub name: String,
}

impl Hello {
    /// As it is sent.
    pub fn message(&self) -> pb::Hello {
        let pool = self.pool.clone().unwrap_or_default();
        pb::Hello { protocol: Format::PROTOCOL, pool, name: self.name.clone() }
    }

    /// As it was received.
    ///
    /// # Errors
    /// [`WireError::Protocol`] when the sender's release is too far from this one; [`WireError::Missing`] when there is none.
    pub fn read(message: Option<pb::Hello>) -> Result<Self, WireError> {
        let pb::Hello { protocol, pool, name } = message.ok_or(WireError::Missing("hello"))?;
        agreed(protocol)?;
        Ok(Self { pool: Some(pool).filter(|pool| !pool.is_empty()), name })
    }
}

/// Whether this release talks to one that speaks `protocol`.
pub(crate) fn agreed(protocol: u32) -> Result<(), WireError> {
    match protocol.abs_diff(Format::PROTOCOL) {
        0 | 1 => Ok(()),
        _ => Err(WireError::Protocol { theirs: protocol, ours: Format::PROTOCOL }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbouring_protocols_talk_and_others_say_that_they_will_not() {
        let hello = Hello { pool: Some("default/pool".to_owned()), name: "epp-1".to_owned() };
        let of = |protocol| Hello::read(Some(pb::Hello { protocol, ..hello.message() }));
        assert_eq!(Ok(hello.clone()), of(Format::PROTOCOL));
        assert_eq!(Ok(hello.clone()), of(Format::PROTOCOL + 1));
        let refused = of(Format::PROTOCOL + 2).unwrap_err().to_string();
        assert!(refused.contains("protocol 3") && refused.contains("protocol 1"), "{refused}");
        assert_eq!(Err(WireError::Missing("hello")), Hello::read(None));
    }
}
