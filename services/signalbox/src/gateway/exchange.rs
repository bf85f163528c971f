//! Handles one request from its first byte to the head of the response. The body of the response streams
//! afterwards.

use std::net::SocketAddr;

use http::{HeaderName, HeaderValue};
use hyper::body::Incoming;
use hyper::{Method, Request, Response};
use signalbox_tls::ConnectError;

use super::body::BodyReader;
use super::error::GatewayError;
use super::ext_proc::pickers::{PickerTransport, Pickers};
use super::headers::upstream_request;
use super::phases::request_body::{Forwarded, RequestForwarder};
use super::phases::response::{ClientBody, complete_response, relay_response};
use super::phases::routing::{RoutingDecision, route};
use super::upstream::{EchoedBody, Upstream};

/// Response header with the address of the endpoint that served the request, for clients that compare endpoints.
const SERVED: HeaderName = HeaderName::from_static("x-gateway-destination-endpoint-served");

/// Handles requests. Shared by all connections.
pub(super) struct Exchange {
    pickers: Pickers,
    upstream: Upstream,
}

impl Exchange {
    /// Creates the handler for requests that go to the pickers at `epps`.
    ///
    /// # Errors
    /// See [`Pickers::new`].
    pub(super) fn new(epps: &[SocketAddr], transport: PickerTransport) -> Result<Self, ConnectError> {
        Ok(Self { pickers: Pickers::new(epps, transport)?, upstream: Upstream::new() })
    }

    /// Answers a request. Dropping the future or the response body cancels the request everywhere.
    pub(super) async fn handle(&self, request: Request<Incoming>) -> Response<ClientBody> {
        match self.try_handle(request).await {
            Ok(response) => response,
            Err(error) => {
                tracing::debug!(%error, "gateway error; answering the client itself");
                complete_response(error.into_response())
            }
        }
    }

    async fn try_handle(&self, request: Request<Incoming>) -> Result<Response<ClientBody>, GatewayError> {
        if request.method() == Method::CONNECT {
            return Err(GatewayError::ConnectMethod);
        }
        let (head, body) = request.into_parts();
        let mut body = BodyReader::new(body);
        let (stream, mutation, endpoint) = match route(&self.pickers, &head, &mut body).await? {
            RoutingDecision::Route { stream, mutation, endpoint } => (stream, mutation, endpoint),
            RoutingDecision::Respond(response) => return Ok(complete_response(response)),
        };
        let (upstream_body, mut echoed) = EchoedBody::channel();
        if body.is_empty() {
            echoed = EchoedBody::Empty;
        }
        let request = upstream_request(&head, &mutation, &endpoint)?.body(echoed)?;
        let forwarder = RequestForwarder::new(stream, body, upstream_body);
        match forwarder.run(self.upstream.send(request, &endpoint)).await? {
            Forwarded::Response(response, stream) => {
                let mut relayed = relay_response(response, stream).await;
                let served = HeaderValue::from_str(endpoint.as_str()).map_err(http::Error::from)?;
                relayed.headers_mut().insert(SERVED, served);
                Ok(relayed)
            }
            Forwarded::Immediate(response) => Ok(complete_response(response)),
        }
    }
}
