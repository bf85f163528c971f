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
    /// A response that is not read: an error, a compressed body, or one that reports no usage.
    #[default]
    Unread,
}
