//! The encodings of responses.

/// How a response is encoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ResponseFormat {
    /// A stream of server-sent events.
    EventStream,
    /// One JSON document.
    Json,
    /// gRPC messages, each after a 5-byte header.
    Grpc,
    /// A response that cannot be read: a compressed body, or one of another content type.
    #[default]
    Unread,
}
