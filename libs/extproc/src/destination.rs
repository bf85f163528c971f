//! The destination of a request.

use std::fmt;
use std::net::SocketAddr;

use bytes::Bytes;
use signalbox_types::BookingId;

/// The endpoint for a request, as gateways expect it. Cheap to clone; create it once per endpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct Destination {
    address: Bytes,
    booking: Option<BookingId>,
    response_header: Option<Box<ResponseHeader>>,
    scores: Vec<(SocketAddr, f64)>,
}

/// A header that is added to a response on its way to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseHeader {
    /// Name of the header.
    pub name: String,
    /// Value of the header.
    pub value: String,
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

    /// Adds a header for the response.
    pub fn with_response_header(self, response_header: ResponseHeader) -> Self {
        Self { response_header: Some(Box::new(response_header)), ..self }
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

    pub(crate) fn response_header(&self) -> Option<&ResponseHeader> {
        self.response_header.as_deref()
    }

    /// Returns `ip:port`, with IPv6 addresses in brackets and commas between several endpoints.
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.address).expect("made from a string")
    }
}

impl From<SocketAddr> for Destination {
    fn from(address: SocketAddr) -> Self {
        Self { address: address.to_string().into(), booking: None, response_header: None, scores: Vec::new() }
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
