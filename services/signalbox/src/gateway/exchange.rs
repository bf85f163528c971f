//! One request from the client's first byte to the response's head; the body follows by itself.

use std::net::SocketAddr;

use hyper::body::Incoming;
use hyper::{Method, Request, Response};
use signalbox_tls::ConnectError;

use super::chunks::Chunks;
use super::delivery::{Delivered, Delivery};
use super::headers::toward_upstream;
use super::picking::{Verdict, pick};
use super::refusal::Refusal;
use super::relay::{Outgoing, relay, whole};
use super::replicas::{Dialling, Replicas};
use super::upstream::{EchoedBody, Upstream};

/// What all requests share.
pub(super) struct Exchange {
    replicas: Replicas,
    upstream: Upstream,
}

impl Exchange {
    /// Exchanges over the pickers at `epps`.
    ///
    /// # Errors
    /// As [`Replicas::new`].
    pub(super) fn new(epps: &[SocketAddr], dialling: Dialling) -> Result<Self, ConnectError> {
        Ok(Self { replicas: Replicas::new(epps, dialling)?, upstream: Upstream::new() })
    }

    /// Answers a request. Dropping the returned future, or the body of the response, cancels it everywhere.
    pub(super) async fn answer(&self, request: Request<Incoming>) -> Response<Outgoing> {
        match self.route(request).await {
            Ok(response) => response,
            Err(refusal) => {
                tracing::debug!(%refusal, "a request was refused by the gateway");
                whole(refusal.into_response())
            }
        }
    }

    async fn route(&self, request: Request<Incoming>) -> Result<Response<Outgoing>, Refusal> {
        if request.method() == Method::CONNECT {
            return Err(Refusal::Tunnel);
        }
        let (head, body) = request.into_parts();
        let mut body = Chunks::new(body);
        let (conversation, mutation, endpoint) = match pick(&self.replicas, &head, &mut body).await? {
            Verdict::Routed { conversation, mutation, endpoint } => (conversation, mutation, endpoint),
            Verdict::Answered(response) => return Ok(whole(response)),
        };
        let (feed, mut echoed) = EchoedBody::fed();
        if body.is_absent() {
            echoed = EchoedBody::None;
        }
        let request = toward_upstream(&head, &mutation, &endpoint)?.body(echoed)?;
        let delivery = Delivery::new(conversation, body, feed);
        match delivery.run(self.upstream.send(request, &endpoint)).await? {
            Delivered::Response(response, conversation) => Ok(relay(response, conversation).await),
            Delivered::Recalled(response) => Ok(whole(response)),
        }
    }
}
