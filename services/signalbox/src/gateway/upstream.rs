//! The connections to model servers.

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

use super::chunks::Piece;
use super::refusal::Refusal;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Shorter than the keep-alive time of the usual model servers (vLLM's HTTP server closes after 5 s), so that
/// this side closes first and no request meets a connection that is just being closed.
const IDLE: Duration = Duration::from_secs(4);

/// A client that keeps connections to every endpoint it was sent to.
pub(super) struct Upstream(Client<HttpConnector, EchoedBody>);

impl Upstream {
    /// A client without any connection yet.
    pub(super) fn new() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE)
            .pool_timer(TokioTimer::new())
            .build(connector);
        Self(client)
    }

    /// Sends a request and waits for the head of the response. Dropping the returned future cancels it.
    ///
    /// # Errors
    /// When the endpoint cannot be connected to or breaks off.
    pub(super) async fn send(
        &self,
        request: Request<EchoedBody>,
        endpoint: &Authority,
    ) -> Result<Response<Incoming>, Refusal> {
        self.0.request(request).await.map_err(|error| {
            let endpoint = endpoint.clone();
            let reason = innermost(&error);
            if error.is_connect() {
                Refusal::Unreachable { endpoint, reason }
            } else {
                Refusal::UpstreamBroke { endpoint, reason }
            }
        })
    }
}

/// What the system said, at the end of a chain of errors that say less.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(deeper) = innermost.source() {
        innermost = deeper;
    }
    innermost.to_string()
}

/// A request body as the picker echoes it, or none.
pub(super) enum EchoedBody {
    /// There is no body.
    None,
    /// Pieces as they come.
    Pieces(mpsc::Receiver<Piece>),
}

/// The picker's echo stopped before the end of the body. Without this error a body cut off would look complete.
#[derive(Debug, thiserror::Error)]
#[error("the request's body was cut off")]
pub(super) struct CutOff;

impl EchoedBody {
    /// A body and the way to fill it; it is cut off if that is dropped before the last piece was sent.
    pub(super) fn fed() -> (mpsc::Sender<Piece>, Self) {
        let (sender, receiver) = mpsc::channel(1);
        (sender, Self::Pieces(receiver))
    }
}

impl Body for EchoedBody {
    type Data = Bytes;
    type Error = CutOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CutOff>>> {
        let Self::Pieces(pieces) = &mut *self else { return Poll::Ready(None) };
        let Some(piece) = std::task::ready!(pieces.poll_recv(context)) else {
            return Poll::Ready(Some(Err(CutOff)));
        };
        if piece.ends {
            *self = Self::None;
        }
        Poll::Ready((!piece.bytes.is_empty() || !piece.ends).then_some(Ok(Frame::data(piece.bytes))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::None)
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::None => SizeHint::with_exact(0),
            Self::Pieces(_) => SizeHint::default(),
        }
    }
}
