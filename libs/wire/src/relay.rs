//! From replica to replica: ends of requests.

use std::time::Duration;

use signalbox_protos::signalbox::v1 as pb;
use signalbox_types::{BookingId, Ended, ReplicaKey};

use crate::error::WireError;
use crate::hello::Hello;

/// Ends of requests; `hello` with the first ones of a stream.
pub fn ended_batch(hello: Option<&Hello>, ended: &[Ended]) -> pb::RequestEndBatch {
    pb::RequestEndBatch { ends: ended.iter().map(ended_message).collect(), hello: hello.map(Hello::message) }
}

/// The ends of requests in a batch; its hello is read by [`Hello::read`].
///
/// # Errors
/// [`WireError`] when an address or a status is none.
pub fn ended(message: pb::RequestEndBatch) -> Result<Vec<Ended>, WireError> {
    let pb::RequestEndBatch { ends: ended, hello: _ } = message;
    ended.into_iter().map(one_ended).collect()
}

fn ended_message(ended: &Ended) -> pb::RequestEnd {
    let Ended { booking: BookingId { replica, number }, status, served, first_byte } = ended;
    pb::RequestEnd {
        replica: replica.0,
        number: *number,
        status: status.map_or(0, u32::from),
        served: served.map(|address| address.to_string()).unwrap_or_default(),
        first_byte_us: first_byte.map_or(0, |time| time.as_micros() as u64),
    }
}

fn one_ended(message: pb::RequestEnd) -> Result<Ended, WireError> {
    let pb::RequestEnd { replica, number, status, served, first_byte_us } = message;
    let served = match served.as_str() {
        "" => None,
        address => Some(address.parse().map_err(|_| WireError::Address(address.to_owned()))?),
    };
    let status = u16::try_from(status).map_err(|_| WireError::Bounds("a status"))?;
    Ok(Ended {
        booking: BookingId { replica: ReplicaKey(replica), number },
        status: Some(status).filter(|status| *status > 0),
        served,
        first_byte: Some(Duration::from_micros(first_byte_us)).filter(|time| !time.is_zero()),
    })
}
