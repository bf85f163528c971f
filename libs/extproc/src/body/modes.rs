//! The ways in which a gateway sends bodies.

use signalbox_protos::envoy::service::ext_proc::v3::{BodySendMode, ProtocolConfiguration};

/// The body modes that a gateway announces in the first message of a stream. Without an announcement, and for
/// unknown modes, full duplex is assumed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyModes {
    request: BodySendMode,
    response: BodySendMode,
    is_announced: bool,
}

impl Default for BodyModes {
    fn default() -> Self {
        let duplex = BodySendMode::FullDuplexStreamed;
        Self { request: duplex, response: duplex, is_announced: false }
    }
}

impl From<ProtocolConfiguration> for BodyModes {
    fn from(announced: ProtocolConfiguration) -> Self {
        let mode = |number| BodySendMode::try_from(number).unwrap_or(BodySendMode::FullDuplexStreamed);
        Self {
            request: mode(announced.request_body_mode),
            response: mode(announced.response_body_mode),
            is_announced: true,
        }
    }
}

/// When a request's body can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestBodyMode {
    /// Once its last chunk has arrived. Until then the picker sends nothing; then it sends the body back.
    Streamed,
    /// In the message after the headers: the whole body, or as much as the gateway can buffer. The picker
    /// replies to the headers immediately, and to the body with the destination.
    Buffered,
    /// Never, or too late: the gateway waits for the reply to the headers, which must contain the
    /// destination.
    NotReadable,
}

/// How to reply to a chunk of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyReply {
    /// With the chunk itself, in as many messages as it takes.
    Chunks,
    /// With one message, which may replace the chunk.
    SingleMessage,
    /// With one message, which may replace the chunk. More of the body may follow unseen.
    PartialBody,
    /// With one message, which may replace the body and then sets the content length.
    WholeBody,
}

impl BodyModes {
    /// Returns whether the gateway announced its modes.
    pub(crate) fn are_announced(self) -> bool {
        self.is_announced
    }

    pub(crate) fn request_body_mode(self) -> RequestBodyMode {
        match self.request {
            // No gateway sends `GRPC`: Envoy does not implement it.
            BodySendMode::FullDuplexStreamed | BodySendMode::Grpc => RequestBodyMode::Streamed,
            BodySendMode::Buffered | BodySendMode::BufferedPartial => RequestBodyMode::Buffered,
            BodySendMode::None | BodySendMode::Streamed => RequestBodyMode::NotReadable,
        }
    }

    pub(crate) fn request_body_reply(self) -> BodyReply {
        body_reply(self.request)
    }

    pub(crate) fn response_body_reply(self) -> BodyReply {
        body_reply(self.response)
    }

    /// Returns whether the gateway sends the response's body only once it has all of it, or as much as it can
    /// buffer.
    pub(crate) fn buffers_response_body(self) -> bool {
        matches!(self.response_body_reply(), BodyReply::WholeBody | BodyReply::PartialBody)
    }

    /// Returns whether the gateway announced that it does not send the response's body. It does not announce
    /// whether it sends the response's headers.
    pub(crate) fn hides_response_body(self) -> bool {
        self.is_announced && self.response == BodySendMode::None
    }

    /// Returns whether the response may continue unseen after the stream has ended.
    pub(crate) fn may_hide_response(self) -> bool {
        !self.is_announced || self.hides_response_body()
    }
}

fn body_reply(mode: BodySendMode) -> BodyReply {
    match mode {
        BodySendMode::Streamed => BodyReply::SingleMessage,
        BodySendMode::BufferedPartial => BodyReply::PartialBody,
        BodySendMode::Buffered => BodyReply::WholeBody,
        // A body that arrives in spite of mode `NONE` is handled like a streamed one.
        BodySendMode::None | BodySendMode::FullDuplexStreamed | BodySendMode::Grpc => BodyReply::Chunks,
    }
}
