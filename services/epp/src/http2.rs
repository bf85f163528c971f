//! What a connection of a gateway may hold and ask for.
//!
//! A gateway opens a stream for each HTTP request, on few connections, each for as long as the request lasts: often minutes. When
//! its clients go away, it resets their streams, all at once when a client with many of them does.

use std::time::Duration;

use tonic::transport::Server;

/// Open streams of one connection. Gateways that come to the limit wait instead of opening another connection, so it lies above what the
/// largest have open; it is there so that a mad one cannot take all memory.
const STREAMS: u32 = 65_536;

/// Streams that a gateway has opened and reset before they were looked at. One more, and the connection is closed with all that lives on it: the
/// usual 20 would be reached by one client that drops a few dozen requests. A reset costs little here, as a stream that is dropped books nothing.
const RESETS_BEFORE_ACCEPT: usize = 16_384;

/// Streams that were reset here because the gateway broke the protocol on them. HTTP/2 libraries never forget them, so that each limit
/// closes a long-lived connection in the end, with all that lives on it; one such stream keeps nothing behind. So there is none.
const RESETS_FOR_ERRORS: Option<usize> = None;

/// Headers of one stream. Those of the HTTP request are in messages; these are the stream's own, with what a gateway adds for tracing and authority.
const HEADER_LIST_BYTES: u32 = 64 << 10;

/// How soon a silent gateway is asked whether it is still there: the requests of one that vanished count as load until that is known.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// How long it may take to answer that.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// What may come on one stream before it is read. Streams whose client takes nothing are not read: they hold this much each.
const STREAM_WINDOW_BYTES: u32 = 128 << 10;

/// What may come on all streams of a connection before it is read: never the limit, or streams that are not read would hold up the others.
const CONNECTION_WINDOW_BYTES: u32 = 1 << 30;

/// A server with these limits.
pub(crate) fn server() -> Server {
    Server::builder()
        .max_concurrent_streams(STREAMS)
        .http2_max_pending_accept_reset_streams(Some(RESETS_BEFORE_ACCEPT))
        .http2_max_local_error_reset_streams(RESETS_FOR_ERRORS)
        .http2_max_header_list_size(HEADER_LIST_BYTES)
        .http2_keepalive_interval(Some(KEEP_ALIVE))
        .http2_keepalive_timeout(Some(KEEP_ALIVE_TIMEOUT))
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
}
