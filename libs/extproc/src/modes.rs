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

/// What is to be done about a request's body.
pub(crate) enum RequestBody {
    /// Wait for all of it.
    Awaited,
    /// Do without.
    Withheld,
    /// It comes in a way that is not supported.
    Unsupported(&'static str),
}

/// How a chunk of a response's body is to be answered.
pub(crate) enum Echo {
    /// With the chunk itself.
    Chunk,
    /// With an empty message, which lets the chunk pass.
    Nod,
}

impl Modes {
    pub(crate) fn request_body(self) -> RequestBody {
        match self.request {
            BodySendMode::FullDuplexStreamed => RequestBody::Awaited,
            BodySendMode::None => RequestBody::Withheld,
            mode => RequestBody::Unsupported(mode.as_str_name()),
        }
    }

    pub(crate) fn echo(self) -> Echo {
        match self.response {
            BodySendMode::Streamed | BodySendMode::Buffered | BodySendMode::BufferedPartial => Echo::Nod,
            BodySendMode::None | BodySendMode::FullDuplexStreamed | BodySendMode::Grpc => Echo::Chunk,
        }
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
