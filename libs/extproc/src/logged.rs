//! What a gateway's access log tells of a request's end.

use std::net::{IpAddr, SocketAddr};

use signalbox_protos::envoy::config::core::v3::Address;
use signalbox_protos::envoy::config::core::v3::address::Address as Kind;
use signalbox_protos::envoy::config::core::v3::socket_address::PortSpecifier;
use signalbox_protos::envoy::data::accesslog::v3::HttpAccessLogEntry;
use signalbox_types::{BookingId, Ended};

use crate::destination::Destination;

/// What an entry of an access log is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Logged {
    /// The end of a request that a picker booked.
    Ended(Ended),
    /// A request that goes on.
    Unfinished,
    /// A request that no picker booked, or [`Destination::BOOKING`] is not among the headers that the gateway logs.
    Unnamed,
}

/// Reads an entry. What it does not say is taken for absent.
pub fn logged(entry: HttpAccessLogEntry) -> Logged {
    let HttpAccessLogEntry { common_properties, request, response } = entry;
    let common = common_properties.unwrap_or_default();
    if common.intermediate_log_entry {
        return Logged::Unfinished;
    }
    let headers = request.unwrap_or_default().request_headers;
    let Some(booking) = headers.get(Destination::BOOKING).and_then(|name| BookingId::read(name)) else {
        return Logged::Unnamed;
    };
    let status = response.and_then(|response| response.response_code);
    let first_byte = common.time_to_first_upstream_rx_byte;
    Logged::Ended(Ended {
        booking,
        status: status.and_then(|code| u16::try_from(code).ok()).filter(|code| *code > 0),
        served: common.upstream_remote_address.and_then(socket_address),
        first_byte: first_byte.and_then(|time| time.try_into().ok()),
    })
}

fn socket_address(address: Address) -> Option<SocketAddr> {
    let Kind::SocketAddress(socket) = address.address?;
    let PortSpecifier::PortValue(port) = socket.port_specifier?;
    let ip: IpAddr = socket.address.parse().ok()?;
    Some(SocketAddr::new(ip, u16::try_from(port).ok()?))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use signalbox_protos::envoy::config::core::v3::SocketAddress;
    use signalbox_protos::envoy::data::accesslog::v3::{
        AccessLogCommon, HttpRequestProperties, HttpResponseProperties,
    };
    use signalbox_types::ReplicaKey;

    use super::*;

    const BOOKING: BookingId = BookingId { replica: ReplicaKey(3), number: 0x1f };

    fn entry(booking: &str) -> HttpAccessLogEntry {
        let port_specifier = Some(PortSpecifier::PortValue(8_000));
        let socket = SocketAddress { address: "10.0.0.7".to_owned(), port_specifier };
        let common = AccessLogCommon {
            time_to_first_upstream_rx_byte: Some(Duration::from_millis(250).try_into().unwrap()),
            upstream_remote_address: Some(Address { address: Some(Kind::SocketAddress(socket)) }),
            intermediate_log_entry: false,
        };
        let headers = [("x-request-id", "r"), (Destination::BOOKING, booking)];
        let request_headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        HttpAccessLogEntry {
            common_properties: Some(common),
            request: Some(HttpRequestProperties { request_headers }),
            response: Some(HttpResponseProperties { response_code: Some(200) }),
        }
    }

    #[test]
    fn the_end_of_a_booked_request_is_read() {
        let ended = Ended {
            booking: BOOKING,
            status: Some(200),
            served: Some(([10, 0, 0, 7], 8_000).into()),
            first_byte: Some(Duration::from_millis(250)),
        };
        assert_eq!(Logged::Ended(ended), logged(entry(&BOOKING.to_string())));
    }

    #[test]
    fn what_an_entry_does_not_say_is_absent() {
        let full = entry(&BOOKING.to_string());
        let bare = HttpAccessLogEntry { request: full.request.clone(), ..HttpAccessLogEntry::default() };
        let ended = Ended { booking: BOOKING, status: None, served: None, first_byte: None };
        assert_eq!(Logged::Ended(ended), logged(bare));
        let status = Some(HttpResponseProperties { response_code: Some(0) });
        let Logged::Ended(unanswered) = logged(HttpAccessLogEntry { response: status, ..full }) else {
            panic!()
        };
        assert_eq!(None, unanswered.status);
    }

    #[test]
    fn other_entries_are_told_apart() {
        assert_eq!(Logged::Unnamed, logged(HttpAccessLogEntry::default()));
        assert_eq!(Logged::Unnamed, logged(entry("made-up")));
        let mut going_on = entry(&BOOKING.to_string());
        going_on.common_properties.as_mut().unwrap().intermediate_log_entry = true;
        assert_eq!(Logged::Unfinished, logged(going_on));
    }
}
