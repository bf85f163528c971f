//! The ends of requests, sent from replica to replica through the owner.

use std::time::Duration;

use signalbox_protos::signalbox::v1 as pb;
use signalbox_types::{BookingId, ReplicaKey, RequestEnd};

use crate::error::WireError;
use crate::hello::Hello;

/// Encodes the ends of requests. The first message of a stream carries `hello`.
pub fn encode_request_ends(hello: Option<&Hello>, ends: &[RequestEnd]) -> pb::RequestEndBatch {
    pb::RequestEndBatch {
        ends: ends.iter().map(encode_request_end).collect(),
        hello: hello.map(Hello::message),
    }
}

/// Decodes the ends of requests. The hello of the message is decoded by [`Hello::read`].
///
/// # Errors
/// [`WireError`] when an address or a status is invalid.
pub fn decode_request_ends(message: pb::RequestEndBatch) -> Result<Vec<RequestEnd>, WireError> {
    let pb::RequestEndBatch { ends, hello: _ } = message;
    ends.into_iter().map(decode_request_end).collect()
}

fn encode_request_end(ends: &RequestEnd) -> pb::RequestEnd {
    let RequestEnd { booking: BookingId { replica, number }, status, served, first_byte } = ends;
    pb::RequestEnd {
        replica: replica.0,
        number: *number,
        status: status.map_or(0, u32::from),
        served: served.map(|address| address.to_string()).unwrap_or_default(),
        first_byte_us: first_byte.map_or(0, |time| time.as_micros() as u64),
    }
}

fn decode_request_end(message: pb::RequestEnd) -> Result<RequestEnd, WireError> {
    let pb::RequestEnd { replica, number, status, served, first_byte_us } = message;
    let served = match served.as_str() {
        "" => None,
        address => Some(address.parse().map_err(|_| WireError::Address(address.to_owned()))?),
    };
    let status = u16::try_from(status).map_err(|_| WireError::Bounds("status"))?;
    Ok(RequestEnd {
        booking: BookingId { replica: ReplicaKey(replica), number },
        status: Some(status).filter(|status| *status > 0),
        served,
        first_byte: Some(Duration::from_micros(first_byte_us)).filter(|time| !time.is_zero()),
    })
}
