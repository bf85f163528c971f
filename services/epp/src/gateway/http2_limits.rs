//! HTTP/2 limits for connections from gateways.
//!
//! A gateway opens one stream per HTTP request, on few connections, each stream for as long as the request
//! lasts: often minutes. When its clients disconnect, it resets their streams, many at once if one client had
//! many requests.

use std::time::Duration;

use tonic::transport::Server;

/// Maximum number of open streams per connection. Gateways that reach the limit wait instead of opening
/// another connection, so it is above what the largest gateways use; it only keeps a faulty one from
/// exhausting the memory.
const MAX_STREAMS: u32 = 65_536;

/// Maximum number of streams that a gateway has opened and reset before the server accepted them. One more
/// closes the connection with all its streams: the default of 20 is reached by one client that drops a few
/// dozen requests. A reset costs little here, as a dropped stream books nothing.
const MAX_RESETS_BEFORE_ACCEPT: usize = 16_384;

/// Maximum number of streams that the server has reset because the gateway broke the protocol on them: none.
/// HTTP/2 libraries count them over the life of a connection, so any limit eventually closes a long-lived
/// connection with all its streams, and such a stream leaves no booking.
const MAX_RESETS_FOR_ERRORS: Option<usize> = None;

/// Maximum size of a stream's own headers, with what a gateway adds for tracing and authority. The headers of
/// the HTTP request are in messages.
const MAX_HEADER_LIST_BYTES: u32 = 64 << 10;

/// How long a gateway stays silent before it is pinged: the requests of a vanished gateway count as load
/// until the ping fails.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);

/// How long a gateway may take to answer a ping.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// Flow-control window of one stream. A stream that is not read, because its client accepts no data, buffers
/// at most this much.
const STREAM_WINDOW_BYTES: u32 = 128 << 10;

/// Flow-control window of a connection, large enough never to be reached: otherwise streams that are not read
/// would block the others.
const CONNECTION_WINDOW_BYTES: u32 = 1 << 30;

/// Returns a gRPC server with these limits.
pub(crate) fn server() -> Server {
    Server::builder()
        .max_concurrent_streams(MAX_STREAMS)
        .http2_max_pending_accept_reset_streams(Some(MAX_RESETS_BEFORE_ACCEPT))
        .http2_max_local_error_reset_streams(MAX_RESETS_FOR_ERRORS)
        .http2_max_header_list_size(MAX_HEADER_LIST_BYTES)
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
}
