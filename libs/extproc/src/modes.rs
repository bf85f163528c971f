//! Which bodies a gateway sends, and how.

use signalbox_protos::envoy::service::ext_proc::v3::{BodySendMode, ProtocolConfiguration};

/// How a gateway sends bodies, as it says in the first message of a stream. A mode that is not known here is taken
/// for full duplex, as is everything where a gateway says nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Modes {
    request: BodySendMode,
    response: BodySendMode,
    told: bool,
}

impl Default for Modes {
    fn default() -> Self {
        let duplex = BodySendMode::FullDuplexStreamed;
        Self { request: duplex, response: duplex, told: false }
    }
}

impl From<ProtocolConfiguration> for Modes {
    fn from(told: ProtocolConfiguration) -> Self {
        let mode = |number| BodySendMode::try_from(number).unwrap_or(BodySendMode::FullDuplexStreamed);
        Self { request: mode(told.request_body_mode), response: mode(told.response_body_mode), told: true }
    }
}

/// When a request's body is there to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestBody {
    /// When its last chunk has come. Until then the picker is silent, and it sends the body back.
    Streamed,
    /// With the message after the headers, whole, or as much of it as the gateway can hold. The headers are answered at once, and the
    /// destination comes with the answer to the body.
    Buffered,
    /// Never, or too late: the headers' answer is waited for, and must tell the destination.
    Unseen,
}

/// How a chunk of a body is to be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Echo {
    /// With the chunk itself, in as many pieces as it takes.
    Pieces,
    /// With one message, which may have another body in it.
    One,
    /// With one message, which may have another body in it. More of the body may follow that is not seen.
    Part,
    /// With one message, which may have another body in it, of which the headers then tell the length.
    Whole,
}

impl Modes {
    pub(crate) fn request_body(self) -> RequestBody {
        match self.request {
            BodySendMode::FullDuplexStreamed | BodySendMode::Grpc => RequestBody::Streamed,
            BodySendMode::Buffered | BodySendMode::BufferedPartial => RequestBody::Buffered,
            BodySendMode::None | BodySendMode::Streamed => RequestBody::Unseen,
        }
    }

    pub(crate) fn request_echo(self) -> Echo {
        echo(self.request)
    }

    pub(crate) fn response_echo(self) -> Echo {
        echo(self.response)
    }

    /// Whether the gateway says that it keeps the response's body to itself. It does not say what it does with the headers.
    pub(crate) fn hide_body(self) -> bool {
        self.told && self.response == BodySendMode::None
    }

    /// Whether a stream that ends after the response's headers may be one whose response goes on unseen.
    pub(crate) fn may_hide_response(self) -> bool {
        !self.told || self.hide_body()
    }
}

fn echo(mode: BodySendMode) -> Echo {
    match mode {
        BodySendMode::Streamed => Echo::One,
        BodySendMode::BufferedPartial => Echo::Part,
        BodySendMode::Buffered => Echo::Whole,
        // A body that was not to come is taken for one that streams.
        BodySendMode::None | BodySendMode::FullDuplexStreamed | BodySendMode::Grpc => Echo::Pieces,
    }
}
