//! Where a request is to go.

use std::fmt;
use std::net::SocketAddr;

use bytes::Bytes;
use signalbox_types::BookingId;

/// The endpoint that a request is to go to, in the form in which gateways are told. Cheap to clone: make it once per
/// endpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct Destination {
    address: Bytes,
    booking: Option<BookingId>,
    announcement: Option<Box<Announcement>>,
    scores: Vec<(SocketAddr, f64)>,
}

/// A header that a response gets on its way to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// The header's name.
    pub header: String,
    /// Its value.
    pub value: String,
}

impl Destination {
    /// The name of the request header, and of the key in the metadata, that tells a gateway the destination.
    pub const KEY: &'static str = "x-gateway-destination-endpoint";

    /// The request header that names the booking to whoever logs the request's end.
    pub const BOOKING: &'static str = "x-signalbox-booking";

    /// The same, and where the gateway cannot reach it, these in their order. Few gateways take more than one endpoint.
    pub fn or(self, others: &[SocketAddr]) -> Self {
        let others: String = others.iter().map(|address| format!(",{address}")).collect();
        Self { address: [self.address, others.into()].concat().into(), ..self }
    }

    /// The same, with a booking of which the end is to be told.
    pub fn booked(self, booking: BookingId) -> Self {
        Self { booking: Some(booking), ..self }
    }

    /// The same, with a header for the response.
    pub fn announced(self, announcement: Announcement) -> Self {
        Self { announcement: Some(Box::new(announcement)), ..self }
    }

    /// The same, with how good each candidate would have been; more is better.
    pub fn scored(self, scores: Vec<(SocketAddr, f64)>) -> Self {
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

    pub(crate) fn announcement(&self) -> Option<&Announcement> {
        self.announcement.as_deref()
    }

    /// `ip:port`, an IPv6 address in brackets; commas between several.
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.address).expect("made from a string")
    }
}

impl From<SocketAddr> for Destination {
    fn from(address: SocketAddr) -> Self {
        Self { address: address.to_string().into(), booking: None, announcement: None, scores: Vec::new() }
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
    fn ipv6_stands_in_brackets() {
        for text in ["10.0.0.1:8000", "[fd00::1]:8000"] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(Destination::from(address).to_string(), text);
        }
    }
}
