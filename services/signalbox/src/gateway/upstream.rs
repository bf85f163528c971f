//! Connections to model servers.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::uri::Authority;
use http::{Request, Response};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::sync::mpsc;

use super::body::Chunk;
use super::error::GatewayError;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long an idle connection is kept. Shorter than the keep-alive time of common model servers (vLLM's HTTP
/// server closes after 5 s), so that this side closes first and no request is sent on a connection that is
/// being closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);

/// A client that keeps connections to all endpoints it was used with.
pub(super) struct Upstream(Client<HttpConnector, EchoedBody>);

impl Upstream {
    /// Creates a client without connections.
    pub(super) fn new() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_timer(TokioTimer::new())
            .build(connector);
        Self(client)
    }

    /// Sends a request and returns when the head of the response has arrived. Dropping the future cancels the
    /// request.
    ///
    /// # Errors
    /// When the connection to the endpoint fails or closes early.
    pub(super) async fn send(
        &self,
        request: Request<EchoedBody>,
        endpoint: &Authority,
    ) -> Result<Response<Incoming>, GatewayError> {
        self.0.request(request).await.map_err(|error| {
            let endpoint = endpoint.clone();
            let reason = root_cause(&error);
            if error.is_connect() {
                GatewayError::Unreachable { endpoint, reason }
            } else {
                GatewayError::UpstreamLost { endpoint, reason }
            }
        })
    }
}

/// Returns the text of the root cause, which is more specific than the errors that wrap it.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut root_cause = error;
    while let Some(source) = root_cause.source() {
        root_cause = source;
    }
    root_cause.to_string()
}

/// The request body as echoed by the picker.
pub(super) enum EchoedBody {
    /// There is no body, or no more of it.
    Empty,
    /// Chunks as they arrive.
    Chunks(mpsc::Receiver<Chunk>),
}

/// The echo stopped before the end of the body. Without this error, the truncated body would look complete.
#[derive(Debug, thiserror::Error)]
#[error("the request body is incomplete")]
pub(super) struct IncompleteBody;

impl EchoedBody {
    /// Creates a body and the sender that fills it. The body fails if the sender is dropped before the last
    /// chunk.
    pub(super) fn channel() -> (mpsc::Sender<Chunk>, Self) {
        let (sender, receiver) = mpsc::channel(1);
        (sender, Self::Chunks(receiver))
    }
}

impl Body for EchoedBody {
    type Data = Bytes;
    type Error = IncompleteBody;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, IncompleteBody>>> {
        let Self::Chunks(chunks) = &mut *self else { return Poll::Ready(None) };
        let Some(chunk) = std::task::ready!(chunks.poll_recv(context)) else {
            return Poll::Ready(Some(Err(IncompleteBody)));
        };
        if chunk.is_last {
            *self = Self::Empty;
        }
        Poll::Ready((!chunk.bytes.is_empty() || !chunk.is_last).then_some(Ok(Frame::data(chunk.bytes))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Empty)
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Chunks(_) => SizeHint::default(),
        }
    }
}
