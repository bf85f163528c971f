//! The destination of a request.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use signalbox_types::BookingId;

/// The endpoint for a request, as gateways expect it. Cheap to clone; create it once per endpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct Destination {
    picked: SocketAddr,
    /// The picked endpoint and its fallbacks, as they are sent to the gateway.
    address: Bytes,
    booking: Option<BookingId>,
    session: Option<Box<Session>>,
    scores: Vec<(SocketAddr, f64)>,
}

/// The tokens by which clients can stay at endpoints, by the endpoints' addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionTokens(HashMap<SocketAddr, String>);

impl FromIterator<(SocketAddr, String)> for SessionTokens {
    fn from_iter<T: IntoIterator<Item = (SocketAddr, String)>>(tokens: T) -> Self {
        Self(tokens.into_iter().collect())
    }
}

/// How the response tells the client its session token.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Session {
    header: String,
    tokens: Arc<SessionTokens>,
}

/// A header that is added to a response on its way to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ResponseHeader {
    pub(crate) name: String,
    pub(crate) value: String,
}

impl Destination {
    /// Name of the request header, and of the metadata key, that contains the destination.
    pub const HEADER: &'static str = "x-gateway-destination-endpoint";

    /// Name of the request header that identifies the booking in the gateway's access log.
    pub const BOOKING_HEADER: &'static str = "x-signalbox-booking";

    /// Adds endpoints for the gateway to try, in this order, if it cannot reach the first one. Few gateways
    /// accept more than one endpoint.
    pub fn with_fallbacks(self, others: &[SocketAddr]) -> Self {
        let others: String = others.iter().map(|address| format!(",{address}")).collect();
        Self { address: [self.address, others.into()].concat().into(), ..self }
    }

    /// Adds the booking whose end the access log reports.
    pub fn with_booking(self, booking: BookingId) -> Self {
        Self { booking: Some(booking), ..self }
    }

    /// Adds the session token of the endpoint that serves the request to the response, in the header `header`.
    pub fn with_session_tokens(self, header: &str, tokens: &Arc<SessionTokens>) -> Self {
        let session = Session { header: header.to_owned(), tokens: Arc::clone(tokens) };
        Self { session: Some(Box::new(session)), ..self }
    }

    /// Adds the score of each candidate; higher is better.
    pub fn with_scores(self, scores: Vec<(SocketAddr, f64)>) -> Self {
        Self { scores, ..self }
    }

    pub(crate) fn scores(&self) -> &[(SocketAddr, f64)] {
        &self.scores
    }

    pub(crate) fn as_bytes(&self) -> &Bytes {
        &self.address
    }

    pub(crate) fn booking(&self) -> Option<BookingId> {
        self.booking
    }

    pub(crate) fn has_session_tokens(&self) -> bool {
        self.session.is_some()
    }

    /// Returns the header with the session token for a response with `status`, which the endpoint at `served`
    /// gave if that is known, and else the picked one. A server error binds no session, nor does an endpoint
    /// that is not of the pool.
    pub(crate) fn session_header(
        &self,
        status: Option<u16>,
        served: Option<SocketAddr>,
    ) -> Option<ResponseHeader> {
        let session = self.session.as_ref()?;
        if status.is_some_and(|status| status >= 500) {
            return None;
        }
        let value = session.tokens.0.get(&served.unwrap_or(self.picked))?.clone();
        Some(ResponseHeader { name: session.header.clone(), value })
    }

    /// Returns `ip:port`, with IPv6 addresses in brackets and commas between several endpoints.
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.address).expect("made from a string")
    }
}

impl From<SocketAddr> for Destination {
    fn from(address: SocketAddr) -> Self {
        Self {
            picked: address,
            address: address.to_string().into(),
            booking: None,
            session: None,
            scores: Vec::new(),
        }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv6_address_is_in_brackets() {
        for text in ["10.0.0.1:8000", "[fd00::1]:8000"] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(Destination::from(address).to_string(), text);
        }
    }
}
