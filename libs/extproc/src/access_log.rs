//! Reads the ends of requests from a gateway's access log.

use std::net::{IpAddr, SocketAddr};

use signalbox_protos::envoy::config::core::v3::Address;
use signalbox_protos::envoy::config::core::v3::address::Address as Kind;
use signalbox_protos::envoy::config::core::v3::socket_address::PortSpecifier;
use signalbox_protos::envoy::data::accesslog::v3::HttpAccessLogEntry;
use signalbox_types::{BookingId, RequestEnd};

use crate::destination::Destination;

/// The meaning of an access log entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessLogEntry {
    /// A request that a picker booked has ended.
    Ended(RequestEnd),
    /// The request is still in progress.
    Intermediate,
    /// The request was never booked, or the gateway does not log the header [`Destination::BOOKING_HEADER`].
    Unbooked,
}

/// Parses an entry. Fields that the entry lacks are `None`.
pub fn parse_access_log_entry(entry: HttpAccessLogEntry) -> AccessLogEntry {
    let HttpAccessLogEntry { common_properties, request, response } = entry;
    let common = common_properties.unwrap_or_default();
    if common.intermediate_log_entry {
        return AccessLogEntry::Intermediate;
    }
    let headers = request.unwrap_or_default().request_headers;
    let Some(booking) = headers.get(Destination::BOOKING_HEADER).and_then(|name| BookingId::parse(name))
    else {
        return AccessLogEntry::Unbooked;
    };
    let status = response.and_then(|response| response.response_code);
    let first_byte = common.time_to_first_upstream_rx_byte;
    AccessLogEntry::Ended(RequestEnd {
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
        let headers = [("x-request-id", "r"), (Destination::BOOKING_HEADER, booking)];
        let request_headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        HttpAccessLogEntry {
            common_properties: Some(common),
            request: Some(HttpRequestProperties { request_headers }),
            response: Some(HttpResponseProperties { response_code: Some(200) }),
        }
    }

    #[test]
    fn end_of_a_booked_request_is_parsed() {
        let ended = RequestEnd {
            booking: BOOKING,
            status: Some(200),
            served: Some(([10, 0, 0, 7], 8_000).into()),
            first_byte: Some(Duration::from_millis(250)),
        };
        assert_eq!(AccessLogEntry::Ended(ended), parse_access_log_entry(entry(&BOOKING.to_string())));
    }

    #[test]
    fn missing_fields_are_none() {
        let full = entry(&BOOKING.to_string());
        let bare = HttpAccessLogEntry { request: full.request.clone(), ..HttpAccessLogEntry::default() };
        let ended = RequestEnd { booking: BOOKING, status: None, served: None, first_byte: None };
        assert_eq!(AccessLogEntry::Ended(ended), parse_access_log_entry(bare));
        let status = Some(HttpResponseProperties { response_code: Some(0) });
        let AccessLogEntry::Ended(unanswered) =
            parse_access_log_entry(HttpAccessLogEntry { response: status, ..full })
        else {
            panic!()
        };
        assert_eq!(None, unanswered.status);
    }

    #[test]
    fn unbooked_and_intermediate_entries_are_distinguished() {
        assert_eq!(AccessLogEntry::Unbooked, parse_access_log_entry(HttpAccessLogEntry::default()));
        assert_eq!(AccessLogEntry::Unbooked, parse_access_log_entry(entry("made-up")));
        let mut going_on = entry(&BOOKING.to_string());
        going_on.common_properties.as_mut().unwrap().intermediate_log_entry = true;
        assert_eq!(AccessLogEntry::Intermediate, parse_access_log_entry(going_on));
    }
}
