//! Reports of request ends from a process other than the one that booked the request.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use crate::ids::ReplicaKey;

/// The identity of one booking, so that a report of the request's end finds it. Written as `REPLICA-NUMBER`,
/// 16 hexadecimal digits each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BookingId {
    /// Replica that booked the request.
    pub replica: ReplicaKey,
    /// Number of the booking at that replica.
    pub number: u64,
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestEnd {
    /// Booking of the request.
    pub booking: BookingId,
    /// HTTP status; `None` if the client disconnected before a response.
    pub status: Option<u16>,
    /// Endpoint that the gateway tried last; `None` if it tried none.
    pub served: Option<SocketAddr>,
    /// Time from the request's first byte to the response headers; `None` without a response.
    pub first_byte: Option<Duration>,
}

impl fmt::Display for BookingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{:016x}", self.replica.0, self.number)
    }
}

impl BookingId {
    /// Parses a booking id; returns `None` if `text` is not one.
    pub fn parse(text: &str) -> Option<Self> {
        let (replica, number) = text.split_once('-')?;
        Some(Self { replica: ReplicaKey(parse_hex(replica)?), number: parse_hex(number)? })
    }
}

fn parse_hex(text: &str) -> Option<u64> {
    let is_valid = text.len() == 16 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
    u64::from_str_radix(text, 16).ok().filter(|_| is_valid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booking_id_round_trips_and_other_text_is_rejected() {
        let id = BookingId { replica: ReplicaKey::of("epp-1"), number: 7 };
        assert_eq!(Some(id), BookingId::parse(&id.to_string()));
        for text in ["", "-", "7", "0000000000000001-7", "+000000000000001-0000000000000007", "a-b"] {
            assert_eq!(None, BookingId::parse(text), "{text}");
        }
    }
}
