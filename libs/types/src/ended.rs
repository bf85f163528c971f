//! How a request ended, told by somebody who is not the one that booked it.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use crate::ids::ReplicaKey;

/// Names one booking of one EPP replica, for whoever hears of the request's end: `REPLICA-NUMBER`, 16 hexadecimal digits each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BookingId {
    /// Who booked it.
    pub replica: ReplicaKey,
    /// Its number there.
    pub number: u64,
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Its booking.
    pub booking: BookingId,
    /// The HTTP status; `None` where the client went away before there was one.
    pub status: Option<u16>,
    /// The endpoint that was asked last; `None` where none was.
    pub served: Option<SocketAddr>,
    /// From the first byte of the request to the response's headers, where there were any.
    pub first_byte: Option<Duration>,
}

impl fmt::Display for BookingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{:016x}", self.replica.0, self.number)
    }
}

impl BookingId {
    /// The booking that `text` names; `None` when it names none.
    pub fn read(text: &str) -> Option<Self> {
        let (replica, number) = text.split_once('-')?;
        Some(Self { replica: ReplicaKey(digits(replica)?), number: digits(number)? })
    }
}

fn digits(text: &str) -> Option<u64> {
    let all_are = text.len() == 16 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
    u64::from_str_radix(text, 16).ok().filter(|_| all_are)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_it_was_written_and_nothing_else_is() {
        let id = BookingId { replica: ReplicaKey::of("epp-1"), number: 7 };
        assert_eq!(Some(id), BookingId::read(&id.to_string()));
        for text in ["", "-", "7", "0000000000000001-7", "+000000000000001-0000000000000007", "a-b"] {
            assert_eq!(None, BookingId::read(text), "{text}");
        }
    }
}
